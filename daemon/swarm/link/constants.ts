/** Longest message. */
export const MAX_MESSAGE_BYTES = 2 ** 20

/** End the link when more than this waits for a peer that does not read. The checkpoints of the largest blob are 8 MiB, sent at once. */
export const MAX_UNSENT_BYTES = 10 * 2 ** 20

/** Longest part: a quarter of a chunk. */
export const MAX_PART_BYTES = 2 ** 18

/** A part is sent in pieces of this length; between two of them it can be given up. */
export const SLICE_BYTES = 2 ** 16

/** Slices that are given to the system at the same time. With one, the line is idle until the system says that it has taken it. */
export const SLICES_IN_FLIGHT = 2

/** Close a link over which nothing went for this long, in ms. */
export const IDLE_MS = 60_000

/** End a link whose peer has taken nothing of what is sent for this long, in ms; a slow line with full queues takes some of it. */
export const STUCK_MS = 120_000

/** Look this many times within {@link IDLE_MS} which links are idle. */
export const CHECKS_IN_IDLE_TIME = 4

/** Above this many links, close the one that is idle for longest. A blob has 16 to 32 neighbours. */
export const MAX_LINKS = 256

/** Keep this many buffers of each length for the next part; fresh memory costs a page fault for each 4 KiB. */
export const MAX_SPARE_BUFFERS = 16
