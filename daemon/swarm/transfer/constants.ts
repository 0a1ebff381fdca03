/** Deadlines of one transfer, in ms. Each step has its own, so that a peer that dies at any point costs no more than that. */
export interface TransferDeadlines {
  /** Until a connection to a peer stands, libp2p dial and TLS included: a peer on the LAN answers in milliseconds. */
  readonly connect: number
  /** Until the headers are there: the peer opens a file, behind others if its disk is busy. */
  readonly headers: number
  /** Longest silence within a body, for the receiver. */
  readonly idle: number
  /**
   * The same for the sender, which sees it less well: its system takes nothing more until a third of what it has is sent, and that
   * takes long where ten chunks go over a line of 1 Mbit/s.
   */
  readonly taking: number
}

export const transferDeadlines: TransferDeadlines = { connect: 1500, headers: 5000, idle: 10_000, taking: 120_000 }

/** A path has a digest or an encoded reference; names in references have up to 255 characters, each encoded in up to three. */
export const MAX_URL_BYTES = 2048

/** What we send has about 200 bytes of headers. */
export const MAX_HEADER_BYTES = 4096

/** Parallel requests to one peer; as many uploads as a peer offers by default. */
export const MAX_SOCKETS_PER_PEER = 32

/** How long an idle connection is kept by the client; the server's is longer, so that a request never meets its close. */
export const CLIENT_KEEP_ALIVE_MS = 15_000
export const SERVER_KEEP_ALIVE_MS = 30_000

/** Connections of all peers together. Beyond it, the peer that has most loses one for each that another peer opens. */
export const MAX_CONNECTIONS = 1_024

/** Connections of one peer: {@link MAX_SOCKETS_PER_PEER} for requests, those of a link, and as many that are about to end. */
export const MAX_CONNECTIONS_OF_PEER = 72

/** Connections that have not shown their certificate yet, of all addresses. */
export const MAX_HANDSHAKES = 512

/** A TLS handshake that takes longer, in ms, gives way to another one. */
export const HANDSHAKE_PATIENCE_MS = 1_000

/** Connections from one network at once. A node looks whether a port is open, and opens up to two for a link. */
export const ARRIVALS = 4_096

/** And each second. */
export const ARRIVALS_PER_SECOND = 128

/** A connection that shows no certificate of a peer counts as this many. */
export const STRANGER = 4

/** Requests of one connection at a time. Peers wait for an answer before they send the next; what it took may not be put away yet. */
export const MAX_PIPELINED = 4

/** A tag answer has about 400 bytes, and 800 with the longest digest and media type. */
export const MAX_TAG_BYTES = 1024

/** Peers that are asked for one tag. */
export const MAX_TAG_PEERS = 32

/** When all uploads are taken: the time in seconds after which one is likely to be free. */
export const RETRY_AFTER_SECONDS = 1

/** Says whether a blob is `public` or `private` content; lower case, as Node gives header names. */
export const ACCESS_HEADER = 'layerd-access'

/** Repositories that private content was found in, separated by commas. */
export const REPOSITORIES_HEADER = 'layerd-repositories'

/** The most recent ones; with names of full length they stay within the limit of all headers. */
export const MAX_REPOSITORIES = 8

/** How long chunks that are still to come are waited for, in ms, before a peer is sent to somebody else for them. */
export const COMING_MS = 1_000

/** One peer gets one part in this many of the uploads at most. */
export const PEER_SHARE = 4

/**
 * An upload to a peer that has taken nothing for this long, in ms, gives its place to one that waits. A slow line may be silent for
 * longer, and keeps its place while nobody waits.
 */
export const TAKING_PATIENCE_MS = 1_000

/** A piece that a peer is given to take at a time: how often it is seen that it takes something. */
export const PIECE_BYTES = 2 ** 16
