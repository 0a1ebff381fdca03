/** The longest pause between two questions, in ms. Above it, a registry that is back stays unnoticed for longer where nobody wants it. */
const longestPause = 60_000

/** The shortest, in ms: whoever sets none does not mean a flood. */
const shortestPause = 100

/**
 * How long after a question those who want the registry wait for its answer, in ms. With less, the first pull after a registry is back
 * fails; with more, those who have another answer wait for it where names are not resolved.
 */
const patience = 1_000

/** How long the registry is asked after somebody wanted it last, in ms. With more, each mistyped name is asked for longer. */
const interestLasts = 600_000

interface ComebackOptions {
  /** Asks the registry for anything. @throws where it gives no answer */
  readonly ask: (signal: AbortSignal) => Promise<void>
  /** The first pause, in ms; each following one is twice as long, up to a minute. */
  readonly pause: number
}

/** A question that has no answer yet. */
interface Asking {
  /** In ms. */
  readonly since: number
  readonly abort: AbortController
  /** Whether there was an answer or not; never rejected. */
  readonly ended: Promise<void>
}

/**
 * Asks a registry that is away again and again, in the background. So nobody waits for a time-out who could have had another answer,
 * and the registry is asked by requests again as soon as it is back. Where nobody wants it for long, it is left alone until
 * somebody does.
 */
export class Comeback {
  readonly #ask: ComebackOptions['ask']
  readonly #first: number
  readonly #closed = new AbortController()
  #pause: number
  #timer: NodeJS.Timeout | undefined
  #asking: Asking | undefined
  #isAway = false
  /** When it was asked last, and when it was wanted last, in ms. */
  #askedAt = Number.NEGATIVE_INFINITY
  #wantedAt = Number.NEGATIVE_INFINITY

  constructor({ ask, pause }: ComebackOptions) {
    this.#ask = ask
    this.#first = Math.max(pause, shortestPause)
    this.#pause = this.#first
  }

  get isAway(): boolean {
    return this.#isAway
  }

  /** The registry is away. */
  begin(): void {
    if (this.#isAway || this.#closed.signal.aborted) return
    this.#isAway = true
    this.#pause = this.#first
    this.#askedAt = this.#wantedAt = performance.now()
    this.#schedule()
  }

  /**
   * Somebody would ask the registry: that is tried at once, unless it was a moment ago.
   * @returns when that is over, or the answer is not worth waiting for
   */
  async wanted(signal: AbortSignal): Promise<void> {
    const now = performance.now()
    this.#wantedAt = now
    if (now - this.#askedAt >= this.#first) this.#try()
    if (this.#asking === undefined) return
    await within(this.#asking.since + patience - now, this.#asking.ended, signal)
  }

  /** There may be a way to it now that there was not. What was asked before may wait for an answer by a way that is gone. */
  wayMayBeOpen(): void {
    this.#pause = this.#first
    this.#asking?.abort.abort(new Error('the network has changed'))
    this.#asking = undefined
    this.#try()
  }

  /** The registry has answered. */
  end(): void {
    this.#isAway = false
    clearTimeout(this.#timer)
  }

  close(): void {
    this.end()
    this.#closed.abort(new Error('the registry is not asked any more'))
  }

  #schedule(): void {
    clearTimeout(this.#timer)
    // Whoever wants it next has it asked, and waits for that a moment rather than for a time-out.
    if (performance.now() - this.#wantedAt >= interestLasts) return
    this.#timer = setTimeout(() => this.#try(), this.#pause)
    this.#timer.unref()
    this.#pause = Math.min(this.#pause * 2, longestPause)
  }

  #try(): void {
    if (!this.#isAway || this.#asking !== undefined) return
    clearTimeout(this.#timer)
    const abort = new AbortController()
    const ended = this.#ask(AbortSignal.any([abort.signal, this.#closed.signal]))
      // It is asked again.
      .catch(() => {})
      .then(() => this.#asked(asking))
    const asking: Asking = { since: performance.now(), abort, ended }
    this.#asking = asking
  }

  #asked(asking: Asking): void {
    // Another question has taken its place.
    if (this.#asking !== asking) return
    this.#asking = undefined
    this.#askedAt = performance.now()
    if (this.#isAway) this.#schedule()
  }
}

/** Waits for what never fails, but for no longer than `ms`, nor for somebody who has gone. */
async function within(ms: number, ended: Promise<void>, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return
  const { promise: limit, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  const onAbort = () => resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([ended, limit])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
