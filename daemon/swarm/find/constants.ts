/**
 * Asks a connected peer which providers its DHT records name for a key: what kad-dht's GET_PROVIDERS asks, on one stream that
 * stays open. kad-dht opens a stream for each request, about five writes to the socket on each side, which made a lookup
 * among 5 nodes take 9 ms of CPU time and 13 ms.
 */
export const FIND_PROTOCOL = '/layerd/find/1.0.0'

/** A key is a SHA-256, see router/cid.ts. */
export const KEY_BYTES = 32

/** Number of the request, big-endian, and the key. */
export const REQUEST_BYTES = 4 + KEY_BYTES

/** As many as the DHT keeps near a key and a lookup can use. */
export const MAX_PROVIDERS = 20

/** PeerIds as multihash: 38 bytes for Ed25519, 34 for others. */
export const MAX_PEER_ID_BYTES = 64

/** Requests of one peer that are being answered; one that sends more does not wait for answers, and is cut off. */
export const MAX_ANSWERING = 256

/** Streams that a peer may have open to us: one, and the one that replaces it. */
export const MAX_FIND_STREAMS = 2

/** Peers that are asked for one key: those nearest to it, where the DHT keeps its records (kad-dht's k). */
export const PEERS_TO_ASK = 20

/** Until a stream stands. */
export const OPEN_TIMEOUT_MS = 3000

/** A peer that leaves a request unanswered for this long is not waited for until it answers. */
export const ANSWER_TIMEOUT_MS = 500
