/** How long the first list of checkpoints waits for a second one to be compared with, in ms. */
export const SECOND_LIST_MS = 40

/** How long a quarter may wait for the checkpoint behind it, in ms: both are sent in the same moment, by two connections. */
export const VERIFIABLE_MS = 2_000

/** A lookup that is still running after this long, in ms, is ended. */
export const LOOKUP_LIMIT_MS = 5_000

/** How long peers that have promised a blob may give nothing, in ms, before others are looked up: once upstream has failed. */
export const LOOKUP_PATIENCE_MS = 1_000

/** How often peers are looked up again while nobody brings the blob further, with this pause in ms. */
export const MAX_LOOKUPS = 3
export const LOOKUP_PAUSE_MS = 1_000

/**
 * How long clients of an open swarm wait for a proof of the size that a peer told, in ms, while bytes are here that they could have,
 * before upstream is asked for it. With less, all nodes of a fleet ask for a blob of which they have seen no manifest.
 */
export const SEEK_SIZE_MS = 2_000

/** How long a blob whose size only peers have told waits for upstream's word, in ms, before it is given up for want of room. */
export const LEARN_SIZE_MS = 5_000

/** How long nothing at all may come, in ms, once upstream has failed: the client has time to go to its next mirror. */
export const START_PATIENCE_MS = 12_000

/** How long a blob may make no progress, in ms, while upstream has failed and peers may still bring it. */
export const FOLLOW_PATIENCE_MS = 20_000

/** How long upstream is left alone after it failed for another reason than saying no, in ms. */
export const RETRY_UPSTREAM_MS = 5_000

/** Upstream streams for clients that asked for a range, beside the one that reads for all. */
export const MAX_RANGE_STREAMS = 3

/** Up to so many bytes of a range are fetched from upstream at once where no peer has them, whoever reads the whole. */
export const SMALL_RANGE_BYTES = 4 * 1024 * 1024

/** Quarters ahead of a client's place in a range that peers are asked for before others. */
export const URGENT_QUARTERS = 8

/** Clients that read ranges for which peers are asked first; others are served as chunks come. */
export const MAX_URGENT = 16

/** How often a fetch begins anew because a size was wrong: each time it knows the right one, or leaves a peer out. */
export const MAX_WRONG_SIZES = 40

/** Attempts before wrong bytes are reported to the client. */
export const MAX_ATTEMPTS = 3

/** How often an attempt looks whether something is to be done, in ms, when nothing tells it. */
export const STEP_MS = 200

/** How long a peer may take to give the one quarter that shows which of two lists is false, in ms. */
export const EVIDENCE_LIMIT_MS = 10_000

/** Peers that are asked for that quarter, on each side. */
export const MAX_WITNESSES = 3

/** How long a peer that sent a quarter which does not fit its list may take, in ms, to say that it has taken the list back. */
export const TAKE_BACK_MS = 5_000

/** How often a peer may take back what it said of a blob and say something else. */
export const MAX_INTRODUCTIONS = 4

/** Peers of one blob whose word is kept: as many as may be its neighbours, and as many again that have just come or gone. */
export const MAX_VIEWS = 80

/** Repositories of one blob that are remembered of what peers say. */
export const MAX_REPOSITORIES_HEARD = 64
