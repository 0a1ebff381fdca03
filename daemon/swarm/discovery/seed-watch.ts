import type { Logger } from 'pino'
import type { SeedStatus } from '../ports.ts'
import { REPEAT_MS, SILENT_MS } from './constants.ts'

interface SeedWatchOptions {
  /** All of them, as they are configured. */
  readonly seeds: readonly string[]
  readonly connectionCount: () => number
  readonly log: Logger
}

/** Says once when no seed has answered for a while, again when the reasons change, and once when a seed answers at last. */
export class SeedWatch {
  readonly #options: SeedWatchOptions
  /** By seed, why it was not reached last; undefined where it was. */
  readonly #reasons = new Map<string, string | undefined>()
  #silentSince: number | undefined
  #timer: NodeJS.Timeout | undefined
  /** What the log was told last, and when (performance.now()). */
  #told: { readonly text: string; readonly at: number } | undefined

  constructor(options: SeedWatchOptions) {
    this.#options = options
  }

  /** A seed was dialled. @param reason why it is not reached; undefined where it is */
  note(seed: string, reason: string | undefined): void {
    const { seeds, log } = this.#options
    this.#reasons.set(seed, reason)
    if (seeds.every((one) => this.#reasons.get(one) !== undefined)) {
      this.#silentSince ??= performance.now()
      this.#timer ??= setTimeout(() => this.#tell(), SILENT_MS).unref()
      if (this.#told !== undefined && performance.now() - this.#told.at > REPEAT_MS) this.#tell()
      return
    }
    this.stop()
    this.#timer = undefined
    this.#silentSince = undefined
    if (this.#told !== undefined) log.info({ seed }, 'a seed answers again')
    this.#told = undefined
  }

  /** That no seed answers, and why; undefined where one does, or it is too early to say. */
  get problem(): string | undefined {
    if (this.#silentSince === undefined || this.#told === undefined) return undefined
    const seconds = Math.round((performance.now() - this.#silentSince) / 1000)
    return `no seed has answered for ${seconds} s: ${this.#text}`
  }

  get status(): readonly SeedStatus[] {
    return this.#options.seeds.map((seed) => {
      const problem = this.#reasons.get(seed)
      return { seed, reached: this.#reasons.has(seed) && problem === undefined, problem }
    })
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  get #text(): string {
    return [...this.#reasons].map(([seed, reason]) => `${seed}: ${reason}`).join('; ')
  }

  #tell(): void {
    const text = this.#text
    if (this.#told?.text === text) return
    this.#told = { text, at: performance.now() }
    const peers = this.#options.connectionCount()
    const outcome =
      peers === 0 ? 'this node has no peers and fetches alone' : `${peers} connections come from elsewhere`
    this.#options.log.warn(
      { reasons: Object.fromEntries(this.#reasons), peers },
      `no seed answers (swarm.seeds); ${outcome}`,
    )
  }
}
