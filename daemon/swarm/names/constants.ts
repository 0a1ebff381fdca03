/** Tells connected peers which images were pushed, and to whom: records that their pushers have signed. */
export const NAMES_PROTOCOL = '/layerd/names/1.0.0'

/** Longest message that is taken, in bytes. */
export const MAX_MESSAGE_BYTES = 32 * 1024

/** Records in one message. */
export const MAX_NAMES = 64

/** Bytes that stand for all records of a publisher: two sets that differ have the same once in 2^64. */
export const SUM_BYTES = 8

/** Sums in one message, which has 8 KiB with them. */
export const MAX_SUMS = 128

/** Publishers that one message asks for. */
export const MAX_ASKED = 32

/** Until another peer is asked for what one was asked for already, in ms: most publishers have few records, which come at once. */
export const ASKED_MS = 10_000

/**
 * A message that is sent is full at about this many bytes, by {@link sizeOf}. A record has some 300 bytes, and 1,800 at most: so the
 * last one that is added to a message does not make it longer than a peer takes.
 */
export const FULL_MESSAGE_BYTES = 8 * 1024

/** Pause after a message to a peer, in ms. With {@link FULL_MESSAGE_BYTES} it stays below what a peer may make others do. */
export const PAUSE_MS = 150

/** Streams that a peer may have open to us: one, one that crossed ours, and the one that replaces it. */
export const MAX_NAMES_STREAMS = 3

/** Until a stream stands, in ms. */
export const OPEN_TIMEOUT_MS = 5_000

/** Records that wait for one peer, and publishers. Above, it is told the sums of everything again instead. */
export const MAX_PENDING = 1_024

/** Peers that have told sums before they can be told anything; that lasts some seconds. */
export const MAX_EARLY = 64

/** Pauses after a peer could not be told, in ms, doubled with each failure. */
export const FIRST_RETRY_MS = 500
export const LONGEST_RETRY_MS = 60_000

/**
 * What a question for all records of somebody costs, in ms of this node's time. With {@link MAX_ASKED} a message stays below what a
 * peer may make others do. The pauses between the messages of an answer bound what it takes.
 */
export const ASK_COST = 0.2

/** How often every peer is told the sums of everything again, in ms: whoever had no room for something, or no time, may have it now. */
export const REFRESH_MS = 3_600_000
