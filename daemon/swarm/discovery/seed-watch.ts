import type { Logger } from 'pino'
import type { SeedStatus } from '../ports.ts'
import { REPEAT_MS, SILENT_MS } from './constants.ts'

interface SeedWatchOptions {
  /** All of them, as they are configured. */
  readonly seeds: readonly string[]
  readonly connectionCount: () => number
  readonly log: Logger
}

/** What came of dialling a seed. */
export type SeedOutcome =
  | { readonly kind: 'reached' }
  /** All its addresses are this node's own. */
  | { readonly kind: 'self' }
  | { readonly kind: 'failed'; readonly problem: string }

/** Says once when no seed has answered for a while, again when the reasons change, and once when a seed answers at last. */
export class SeedWatch {
  readonly #options: SeedWatchOptions
  /** By seed, what came of it last. */
  readonly #outcomes = new Map<string, SeedOutcome>()
  #silentSince: number | undefined
  #timer: NodeJS.Timeout | undefined
  /** What the log was told last, and when (performance.now()). */
  #told: { readonly text: string; readonly at: number } | undefined

  constructor(options: SeedWatchOptions) {
    this.#options = options
  }

  /** A seed was dialled. */
  note(seed: string, outcome: SeedOutcome): void {
    const { seeds, log } = this.#options
    this.#outcomes.set(seed, outcome)
    const kinds = new Set(seeds.map((one) => this.#outcomes.get(one)?.kind))
    // One that is this node itself says nothing of the others.
    kinds.delete('self')
    if (kinds.size === 1 && kinds.has('failed')) {
      this.#silentSince ??= performance.now()
      this.#timer ??= setTimeout(() => this.#tell(), SILENT_MS).unref()
      if (this.#told !== undefined && performance.now() - this.#told.at > REPEAT_MS) this.#tell()
      return
    }
    this.stop()
    this.#timer = undefined
    this.#silentSince = undefined
    if (this.#told !== undefined && outcome.kind === 'reached') log.info({ seed }, 'a seed answers again')
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
      const outcome = this.#outcomes.get(seed)
      const problem = outcome?.kind === 'failed' ? outcome.problem : undefined
      return { seed, reached: outcome?.kind === 'reached', isSelf: outcome?.kind === 'self', problem }
    })
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  get #text(): string {
    return [...this.#reasons].map(([seed, reason]) => `${seed}: ${reason}`).join('; ')
  }

  /** Why seeds were not reached. */
  get #reasons(): ReadonlyMap<string, string> {
    const failed = [...this.#outcomes].flatMap(([seed, outcome]) =>
      outcome.kind === 'failed' ? [[seed, outcome.problem] as const] : [],
    )
    return new Map(failed)
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
