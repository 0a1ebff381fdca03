/**
 * Asks the coordinator of a blob, which is the peer nearest to its digest, for the right to fetch it from upstream, and who
 * else fetches it. One stream for each peer, which stays open.
 */
export const CLAIM_PROTOCOL = '/layerd/claim/1.0.0'

/** A holder that was not heard of for this long, in ms, has lost its claim. */
export const LEASE_MS = 3_000

/** How often the holder of a claim renews it, and how often others ask again, in ms. */
export const RENEW_MS = 300
export const FOLLOW_MS = 2_000
export const STARVED_MS = 300

/**
 * Until the first chunk from upstream, in ms: names are resolved, tokens fetched, redirects followed, and several layers share its line.
 * With 1.2 s sixteen nodes took 1.05 times an image of three layers from an upstream of 20 Mbit/s, with 2 s 1.02 (`bench:fleet`).
 */
export const FIRST_TOLERANCE_MS = 2_000

/** A holder that brings no chunk for this long, in ms, is raced against; doubled with each race until chunks come fast again. */
export const TOLERANCE_MS = 1_000
export const TOLERANCE_LIMIT_MS = 60_000

/**
 * For so long after its holder has completed the content, in ms, a claim is not granted to those who are only starved: the last
 * chunks are on their way, and they may not even know yet that these are there.
 */
export const COMPLETED_MS = 3_000

/** A racer that brought no chunk within this time, in ms, gives way to another one. */
export const RACE_MS = 5_000

/** Racers in vain of one claim that are remembered, so that others come first. */
export const MAX_TIRED = 64

/** Who asked lately, in ms, is in the swarm of a blob; who completed it can give it for longer. */
export const MEMBER_MS = 5_000
export const COMPLETE_MS = 60_000

/** Bounds of what a coordinator remembers. */
export const MAX_CLAIMS = 4_096
export const MAX_CLAIMS_OF_PEER = 1_024
export const MAX_MEMBERS = 4_096

/** Peers that one answer names: enough for a well-mixed graph of any size. */
export const MAX_NAMED = 24

/** Longest key: a digest, or a tag's reference with the longest names. */
export const MAX_KEY_CHARACTERS = 600

/** Longest messages: a question, and an answer that names as many peers as it may. */
export const MAX_CLAIM_BYTES = 1024
export const MAX_ANSWER_BYTES = 8192

/** Streams that a peer may have open to us: one, and the one that replaces it. */
export const MAX_CLAIM_STREAMS = 2

/** Until a stream stands, in ms. */
export const OPEN_TIMEOUT_MS = 3000

/** How long a coordinator may take to answer, in ms; it looks into its memory only. */
export const ANSWER_TIMEOUT_MS = 750

/**
 * The same for all questions but the first, in ms: few pulls wait for these, and whoever asks another coordinator is granted a
 * second claim. Where machines are busy and messages wait behind chunks, that made everybody fetch from upstream.
 */
export const LATER_ANSWER_TIMEOUT_MS = 5_000

/** How long one that did not answer is passed over, in ms. */
export const SILENT_MS = 10_000
