/** The longest pause between two questions, in ms. Above it, a registry that is back stays unnoticed for longer where nobody wants it. */
const longestPause = 60_000

/** The shortest, in ms: whoever sets none does not mean a flood. */
const shortestPause = 100

interface ComebackOptions {
  /** Asks the registry for anything. @throws where it gives no answer */
  readonly ask: (signal: AbortSignal) => Promise<void>
  /** The first pause, in ms; each following one is twice as long, up to a minute. */
  readonly pause: number
}

/**
 * Asks a registry that is away again and again, in the background. So nobody waits for a time-out who could have had another answer,
 * and the registry is asked by requests again as soon as it is back.
 */
export class Comeback {
  readonly #ask: ComebackOptions['ask']
  readonly #first: number
  readonly #closed = new AbortController()
  #pause: number
  #timer: NodeJS.Timeout | undefined
  #isAsking = false
  #isAway = false
  /** When it was asked last, in ms. */
  #askedAt = Number.NEGATIVE_INFINITY

  constructor({ ask, pause }: ComebackOptions) {
    this.#ask = ask
    this.#first = Math.max(pause, shortestPause)
    this.#pause = this.#first
  }

  /** The registry is away. */
  begin(): void {
    if (this.#isAway || this.#closed.signal.aborted) return
    this.#isAway = true
    this.#pause = this.#first
    this.#askedAt = performance.now()
    this.#schedule()
  }

  /** Somebody would ask the registry: that is tried at once, unless it was a moment ago. */
  wanted(): void {
    if (performance.now() - this.#askedAt >= this.#first) void this.#try()
  }

  /** There may be a way to it now that there was not. */
  wayMayBeOpen(): void {
    this.#pause = this.#first
    void this.#try()
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
    this.#timer = setTimeout(() => void this.#try(), this.#pause)
    this.#timer.unref()
    this.#pause = Math.min(this.#pause * 2, longestPause)
  }

  async #try(): Promise<void> {
    if (!this.#isAway || this.#isAsking) return
    this.#isAsking = true
    clearTimeout(this.#timer)
    try {
      await this.#ask(this.#closed.signal)
    } catch {
      // It is asked again.
    }
    this.#isAsking = false
    this.#askedAt = performance.now()
    if (this.#isAway) this.#schedule()
  }
}
