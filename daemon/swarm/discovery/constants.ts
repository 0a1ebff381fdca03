/** Dials of discovery under way at the same time, so that dead addresses don't hold up a dial that a pull waits for. */
export const PARALLEL_DIALS = 8

/** Until a dial of discovery is given up; a handshake on a busy machine takes its time. */
export const DIAL_DEADLINE_MS = 5000

/** Peers that are to be dialled; the longest known is forgotten first. */
export const MAX_WANTED = 1024

/** Peers of an earlier run that are dialled after a start. */
export const MAX_REMEMBERED = 64

/** Pause after the first failure, doubled with each further one. */
const FIRST_RETRY_MS = 1000
export const LONGEST_SEED_RETRY_MS = 15_000
export const LONGEST_PEER_RETRY_MS = 120_000

/** The same for a node without any connection, for both: its network may be back at any moment. */
export const LONGEST_RETRY_ALONE_MS = 4_000

/** How often connections are looked at over which something was sent and nothing came, in ms. */
export const ROUND_MS = 2_500

/** End a connection whose peer gives no sign of life for this long when it is asked for one, in ms. A busy node takes a second. */
export const ANSWER_MS = 3_000

/** A peer that was just lost is most often just restarting. */
export const LOST_RETRY_MS = 300

/** How often a seed that is connected is looked at again: its name may have new addresses. */
export const SEED_CHECK_MS = 15_000

/** Say that no seed answers after this time, in ms. The nodes of a fleet that start together are up sooner. */
export const SILENT_MS = 30_000

/** Log no more often than this, in ms, that seeds do not answer for other reasons than before. */
export const REPEAT_MS = 300_000

/** Pauses before the walks that follow the first connection; the routing table fills a moment after it. */
export const WALKS_AFTER_JOIN_MS: readonly number[] = [50, 250, 1000, 4000, 15_000]
export const WALK_INTERVAL_MS = 60_000
export const WALK_DEADLINE_MS = 5000

/** Half to one and a half of a pause, so that a fleet does not move in step. */
export function jitter(ms: number): number {
  return ms * (0.5 + Math.random())
}

/** The pause after so many failures in a row. */
export function backOff(failures: number, longestMs: number): number {
  return jitter(Math.min(longestMs, FIRST_RETRY_MS * 2 ** (failures - 1)))
}

/** Attempts to reach a discovered peer before it is forgotten. */
export const MAX_DIAL_FAILURES = 8

/**
 * How long an address that led back to this node is taken for its own, in ms. Behind a load balancer, or after an address has gone to
 * another machine, the next connection leads elsewhere.
 */
export const OWN_ADDRESS_MS = 60_000
