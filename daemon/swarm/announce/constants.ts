/**
 * Tells connected peers which blobs this node has, many in one message, on one stream that stays open. kad-dht's provide()
 * looks for the nearest peers and opens a stream to each of them twice for every single blob, which took 20 ms of CPU time a
 * blob among 5 nodes.
 */
export const ANNOUNCE_PROTOCOL = '/layerd/announce/1.0.0'

/** Number of the request, big-endian, its kind, and how many keys follow. */
export const HEAD_BYTES = 4 + 1 + 2

/**
 * Keys in one message. Storing them holds up everything else that the peer does: about 8 ms for so many, and a lookup that
 * meets it is later by that.
 */
export const MAX_KEYS = 512

/** Number of the request, and how many of its keys were taken. */
export const ANSWER_BYTES = 4 + 2

/** Requests of one stream that are being worked on: what is fresh, and one of a round over all. More is not waiting. */
export const MAX_WORKING = 4

/** Streams that a peer may have open to us: one, and the one that replaces it. */
export const MAX_ANNOUNCE_STREAMS = 2

/** A peer that has not answered by then has not taken it. It may be storing what all its other peers tell it. */
export const ANSWER_TIMEOUT_MS = 3000

/** Blobs of one image complete together, and share a message. */
export const COALESCE_MS = 5

/** Changes that wait for one peer; beyond, it is told of everything again. */
export const MAX_PENDING = 16_384

/** Blobs taken back, of which peers are told that were not connected then. */
export const MAX_TAKEN_BACK = 4096

/** Pauses after a peer did not take something, doubled with each failure. */
export const FIRST_RETRY_MS = 500
export const LONGEST_RETRY_MS = 60_000

/** Until it is looked again whether a peer waits for a round; it is woken before. */
export const LONGEST_WAIT_MS = 60_000
