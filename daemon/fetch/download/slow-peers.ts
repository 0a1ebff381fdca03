import type { Assembly } from './assembly.ts'
import { HELP_BELOW, HELP_WINDOW_MS } from './constants.ts'

/** Finds out whether the peers of a blob are so slow that upstream should help. */
export class SlowPeers {
  #since = performance.now()
  #bytes = 0
  #areSlow = false

  get areSlow(): boolean {
    return this.#areSlow
  }

  /** To be called often. Only a complete list counts: before, it is upstream that sets the pace. */
  measure({ bytes, running }: { readonly bytes: number; readonly running: number }, assembly: Assembly): void {
    const now = performance.now()
    if (!assembly.isListComplete || assembly.proven !== undefined || running === 0) {
      this.#restart(now, bytes)
      return
    }
    const ms = now - this.#since
    if (ms < HELP_WINDOW_MS) return
    const areSlow = ((bytes - this.#bytes) / ms) * 1000 < HELP_BELOW
    this.#restart(now, bytes, areSlow)
  }

  #restart(now: number, bytes: number, areSlow = false): void {
    this.#since = now
    this.#bytes = bytes
    this.#areSlow = areSlow
  }
}
