import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Waits until what has come for this process meanwhile was read. To be called when a timer is over: on a node that was busy, timers
 * are served before sockets, and the answer that seems late may be there already.
 */
export async function afterReads(): Promise<void> {
  // The rest of this turn of the event loop may be behind its sockets; the next one is not.
  await nextTurn()
  await nextTurn()
}
