/**
 * A turn of the event loop counts for no longer than this, in ms: some 50 turns make a second, and what takes a handshake and a few
 * messages fits into that on a node that is busy. Less costs an idle node timers; more calls peers silent where cores are full.
 */
const LONGEST_TURN_MS = 20

/** Timers of an idle node are late by this much, in ms. Less makes time go slowly; more hides that a node is busy. */
const TIMER_SLACK_MS = 2

/**
 * Time in which this node listens, in ms: a turn of the event loop that takes long, because this node is busy, counts for as long as
 * it was to take. What others do is judged by this time, as what they have said meanwhile waits in the sockets.
 */
export class Clock {
  readonly #alarms = new Map<() => void, number>()
  /** Time in which this node did not listen. */
  #lost = 0
  #timer: NodeJS.Timeout | undefined
  /** When the timer is to end. */
  #due = 0
  #isStopped = false

  /** It never goes back. */
  get now(): number {
    const now = performance.now() - this.#lost
    return this.#timer === undefined ? now : Math.min(now, this.#due)
  }

  /** Calls back once at that time; in place of the time that was set before. */
  wake(callback: () => void, at: number): void {
    if (at === Number.POSITIVE_INFINITY) this.#alarms.delete(callback)
    else this.#alarms.set(callback, at)
    this.#schedule()
  }

  stop(): void {
    this.#isStopped = true
    clearTimeout(this.#timer)
  }

  /** A timer that is too early costs little; one that is set anew for each event costs more. */
  #schedule(): void {
    if (this.#alarms.size === 0 || this.#isStopped) return
    const next = Math.min(...this.#alarms.values())
    if (this.#timer !== undefined && this.#due <= next) return
    this.#settle()
    const { now } = this
    const wait = Math.max(1, Math.ceil(Math.min(next - now, LONGEST_TURN_MS)))
    this.#due = now + wait
    this.#timer = setTimeout(() => this.#turn(), wait)
  }

  /** The timer is over, or not needed: by what it is late was lost. */
  #settle(): void {
    if (this.#timer === undefined) return
    const late = performance.now() - this.#lost - this.#due
    if (late > TIMER_SLACK_MS) this.#lost += late
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #turn(): void {
    this.#settle()
    const { now } = this
    for (const [callback, at] of [...this.#alarms]) {
      if (at > now) continue
      this.#alarms.delete(callback)
      callback()
    }
    this.#schedule()
  }
}
