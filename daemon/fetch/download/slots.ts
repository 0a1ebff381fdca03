import type { Room } from '../../swarm/session/plan.ts'

/** A number of things that may be under way at the same time, whoever starts them. */
export class Slots {
  readonly #limit: number
  readonly #usual: number
  readonly #waiting = new Set<() => void>()
  #taken = 0

  /** @param usual how many there should be; up to `limit` where one of those who start them would have none */
  constructor(limit: number, usual = limit) {
    this.#limit = limit
    this.#usual = usual
  }

  /** Whether nothing is under way. */
  get isIdle(): boolean {
    return this.#taken === 0
  }

  /** What a session may start. */
  get room(): Room {
    return { budget: Math.max(0, this.#limit - this.#taken), requests: this.spare, running: this.#taken }
  }

  /** How many more there should be; less than 0 where there are more than usual. */
  get spare(): number {
    return this.#usual - this.#taken
  }

  /** The caller has looked at `room` before. */
  take(): void {
    this.#taken++
  }

  give(): void {
    this.#taken--
    this.callNext()
  }

  /** Calls who waits next; to be called by who was called and leaves something free. */
  callNext(): void {
    const [next] = this.#waiting
    if (next === undefined) return
    this.#waiting.delete(next)
    next()
  }

  /** Calls back once when something becomes free; whoever came first is called first. */
  whenFree(callback: () => void): void {
    this.#waiting.add(callback)
  }

  /** Takes a callback back. */
  forget(callback: () => void): void {
    this.#waiting.delete(callback)
  }
}
