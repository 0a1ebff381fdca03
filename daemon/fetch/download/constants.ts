/**
 * Peers of one blob that are met as a coordinator names them, and with those who come by themselves. With 12 a node sends a fifth
 * more messages, and chunks spread no faster at 16 nodes and little faster at 64; with 6 they are late at 64 (`npm run sim`).
 * Who has the claim is met though there are that many already, up to twice as many: until a list is complete no other one is followed.
 */
export const WANTED_PEERS = 8
export const MAX_PEERS = 64

/** How long a peer that was named may take to say what it holds, in ms, before upstream is asked all the same. */
export const ANSWER_MS = 250

/** How long a peer that announced the blob may take to say so again, in ms, before it is said that nobody has it. */
export const PROVIDER_ANSWER_MS = 5_000

/** How long the first complete list of checkpoints waits for a second one to be compared with, in ms. */
export const SECOND_LIST_MS = 40

/** A lookup that is still running after this long, in ms, is ended. */
export const LOOKUP_LIMIT_MS = 5_000

/** How often peers are looked up again while nobody brings the blob further, with this pause in ms. */
export const MAX_LOOKUPS = 3
export const LOOKUP_PAUSE_MS = 1_000

/**
 * How long a blob may make no progress, in ms, while upstream has failed and somebody else still fetches it; where bytes come, and no
 * whole chunk, twice {@link ALONE_MS}.
 */
export const FOLLOW_PATIENCE_MS = 20_000

/** Upstream streams for clients that asked for a range, beside the one that fetches the blob from its start. */
export const MAX_RANGE_STREAMS = 3

/** A range of up to so many bytes is fetched from upstream at once where no peer has it, whoever fetches the whole. */
export const SMALL_RANGE_BYTES = 4 * 1024 * 1024

/** Chunks ahead of a client's place in a range that are fetched before others. */
export const URGENT_CHUNKS = 2

/** Clients that read ranges for which peers are asked first; others are served as chunks come. */
export const MAX_URGENT = 16

/** Attempts before wrong bytes are reported to the client. */
export const MAX_ATTEMPTS = 3

/** Peers that together give fewer bytes a second than this, over so many ms, get help from upstream; on a slow line, all that comes. */
export const HELP_BELOW = 1024 * 1024
export const HELP_WINDOW_MS = 3_000

/** It is looked at over so many times what a chunk takes, where that is longer. */
export const HELP_WINDOW_CHUNKS = 2

/** Upstream helps where all together give so many times what peers gave alone; where not, it is left alone for so many ms. */
export const HELP_GAIN = 1.5
export const HELP_REST_MS = 60_000

/** Chunks that upstream is asked for at once where it helps peers. */
export const HELP_CHUNKS = 8

/** Requests to peers at the same time, of all blobs together, however many blobs: each has two pieces of memory. */
export const MAX_REQUESTS = 32

/** How often an attempt looks whether something is to be done, in ms, when nothing tells it. */
export const STEP_MS = 200

/**
 * Without a chunk for this long, in ms, and less than one sent in such a time, upstream is asked whoever has the claim, in turn with
 * others who have come to that. However much is sent, it is asked after the longer time, and after the longest one while other
 * blobs take a slow line: of three layers one may be behind, and sixteen nodes took turns for it without need.
 */
export const DESPERATE_MS = 8_000
export const DESPERATE_LIMIT_MS = 60_000
export const TAKEN_LIMIT_MS = 120_000

/** A node waits for peers so many times as long as a chunk would take if all of them asked upstream at once. */
export const FAIR_SHARES = 2

/** A turn at upstream ends after this long, in ms, at the next chunk. */
export const TURN_MS = 30_000

/** A node that says for longer, in ms, that it is its turn is not waited for. */
export const OTHERS_TURN_MS = 45_000

/** Without a chunk for this time up to twice as long, in ms, a node does not wait for its turn any more. */
export const ALONE_MS = 90_000

/**
 * Who has the claim and has brought no chunk for so many times what one takes, within these limits in ms, is not relied on for those
 * that it has brought.
 */
export const STALE_CHUNKS = 3
export const STALE_MS = 5_000
export const STALE_LIMIT_MS = 20_000

/** A coordinator that tells of a slower upstream than a chunk in this time, in ms, is not believed: peers may be helped then. */
export const CREDIBLE_CHUNK_MS = 20_000

/** From what a chunk takes, in ms, a line is so slow that a blob may have to wait for others that take it. */
export const SLOW_LINE_MS = 2_000

/** Chunks that it is asked for at once then, at most; and the peers with whom nodes wait up to three times as long. */
export const DESPERATE_CHUNKS = 16
export const DESPERATE_PEERS = 16

/** What happens within this time, in ms, is looked at together. */
export const GATHER_MS = 2

/** How long a peer may take to give the one quarter that shows which of two lists is false, in ms. */
export const EVIDENCE_LIMIT_MS = 10_000

/** Peers that are asked for that quarter, on each side. */
export const MAX_WITNESSES = 3

/** How long a peer that sent a chunk which does not fit its list may take, in ms, to say that it has taken the list back. */
export const TAKE_BACK_MS = 5_000

/** How often a peer may take back what it said of a blob and say something else. */
export const MAX_INTRODUCTIONS = 4

/** A peer that has left is not met again for so long, in ms, doubled each time up to the limit; and of how many that is remembered. */
export const RETURN_MS = 1_000
export const RETURN_LIMIT_MS = 60_000
export const MAX_DEPARTED = 256

/** Repositories of one blob that are remembered of what peers say. */
export const MAX_REPOSITORIES_HEARD = 64
