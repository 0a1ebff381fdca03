/** Longest message. */
export const MAX_MESSAGE_BYTES = 2 ** 20

/** End the link when more of messages than this waits for a peer. The checkpoints of the largest blob are 8 MiB, sent at once. */
export const MAX_UNSENT_BYTES = 10 * 2 ** 20

/** Longest part: a quarter of a chunk. */
export const MAX_PART_BYTES = 2 ** 18

/** Parts are sent in slices of this length. Between two slices a part can be given up. */
export const SLICE_BYTES = 2 ** 16

/** Slices that the system is given at the same time. With one, the line is idle until the system has said that it took it. */
export const SLICES_IN_FLIGHT = 2

/** Close a link that was idle for this long, in ms. */
export const IDLE_MS = 60_000

/** End a link whose peer has taken nothing that waits for it for this long, in ms. A slow line takes something within that time. */
export const STUCK_MS = 120_000

/** Idle links are looked for this many times within {@link IDLE_MS}. */
export const CHECKS_IN_IDLE_TIME = 4

/** Above this many links, close the one that is idle for longest. A blob has 16 to 32 neighbours. */
export const MAX_LINKS = 256

/** Keep up to this many buffers of each length. Fresh memory costs a page fault for each 4 KiB. */
export const MAX_SPARE_BUFFERS = 16
