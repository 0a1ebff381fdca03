/**
 * Tells a peer which chunks of a blob this node holds, and each new one as it comes, with the checkpoints to verify them by.
 * One stream for each peer that asks, which stays open.
 */
export const HAVE_PROTOCOL = '/layerd/have/1.0.0'

/** What was got in this time, in ms, goes into one message. */
export const GATHER_MS = 2

/** A chunk that was written counts as on its way until its peer tells that it has it, but not for longer than this, in ms. */
export const DELIVERY_LIMIT_MS = 5_000

/** Blobs that all peers together may watch at the same time. */
export const MAX_HUBS = 4096

/** Blobs that one peer may watch at the same time, on all its streams. */
export const MAX_WATCHED = 512

/** A message with all checkpoints and the numbers of all chunks of a blob of 64 GiB, the largest that is shared by chunks. */
export const MAX_HAVE_BYTES = 2 ** 23 + 2 ** 21
export const MAX_SHARED_BLOB_BYTES = 2 ** 36

/** Longest message of a peer that asks. */
export const MAX_WATCH_BYTES = 1024

/** Streams that a peer may have open to us: one, and the one that replaces it. */
export const MAX_HAVE_STREAMS = 2

/** Until a stream stands, in ms. */
export const OPEN_TIMEOUT_MS = 3000
