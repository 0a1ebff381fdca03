/** Messages about who reads a blob from upstream, on one stream for each pair of peers, which stays open. */
export const SHARE_PROTOCOL = '/layerd/share/1.0.0'

/** Longest message in bytes. */
export const MAX_MESSAGE_BYTES = 2 ** 18

/** Streams that a peer may have open to us: one, one that crossed ours, and the one that replaces it. */
export const MAX_SHARE_STREAMS = 3

/** Until a stream stands, in ms. */
export const OPEN_TIMEOUT_MS = 3000

/** Nearest peers that coordinate a blob: one does, the others follow where it does not answer. */
export const COORDINATORS = 3

/** Keys whose nearest peers are remembered; the oldest are forgotten. */
export const MAX_KEYS = 4096

/** Peers that are named as having announced a blob. */
export const MAX_RECORDED = 32

/** How long a lookup of the peers near a key is waited for, in ms; what it finds after that is of use the next time. */
export const CLOSEST_MS = 1_000

/** How long what it has found holds, in ms: until then a node that has come nearer is not known. */
export const CLOSEST_VALID_MS = 10_000
