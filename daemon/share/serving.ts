import type { Links, PeerId } from '../swarm/ports.ts'
import { quarterBytes, quartersPerChunk } from '../verify/quarter.ts'
import type { SharedEntry } from './entry.ts'
import type { Effect } from './plan/steps.ts'

type ServeEffect = Extract<Effect, { kind: 'serve' }>

interface Serve {
  readonly effect: ServeEffect
  readonly entry: SharedEntry
  readonly abort: AbortController
  /** It waits for a quarter that is not held here yet. */
  wake: (() => void) | undefined
}

interface ServingOptions {
  readonly sendPart: Links['sendPart']
  /** Tells the peer the checkpoints up to what is sent next. */
  readonly onPart: (to: PeerId, entry: SharedEntry) => void
  readonly onSent: (to: PeerId, id: number) => void
  /** It can't be sent to its end. */
  readonly onFailed: (to: PeerId, id: number, entry: SharedEntry, error: unknown) => void
}

/** Memory that answers are read into; each fresh buffer costs page faults. */
const spare: Buffer[] = []
const MAX_SPARE = 8

/** What is being sent: one answer to a peer at a time, quarter by quarter, each as soon as it is held. */
export class Serving {
  readonly #options: ServingOptions
  readonly #serves = new Map<PeerId, Serve>()

  constructor(options: ServingOptions) {
    this.#options = options
  }

  /** Whether an answer waits for what this node has not got yet. */
  isWaiting(to: PeerId): boolean {
    return this.#serves.get(to)?.wake !== undefined
  }

  start(effect: ServeEffect, entry: SharedEntry): void {
    this.stop(effect.to)
    const serve: Serve = { effect, entry, abort: new AbortController(), wake: undefined }
    this.#serves.set(effect.to, serve)
    this.#run(serve).catch(() => {})
  }

  /** @param id of the question; whatever is sent to the peer where it is left out */
  stop(to: PeerId, id?: number): void {
    const serve = this.#serves.get(to)
    if (serve === undefined || (id !== undefined && serve.effect.id !== id)) return
    this.#serves.delete(to)
    serve.abort.abort(new Error('it is not wanted any more'))
    serve.wake?.()
  }

  stopAll(): void {
    for (const to of [...this.#serves.keys()]) this.stop(to)
  }

  /** A quarter of a blob is held now: whoever waits for it gets it. */
  held(entry: SharedEntry): void {
    for (const serve of this.#serves.values()) if (serve.entry === entry) serve.wake?.()
  }

  async #run(serve: Serve): Promise<void> {
    const { sendPart, onPart, onSent, onFailed } = this.#options
    const { effect, entry, abort } = serve
    const { to, id, chunk } = effect
    const { signal } = abort
    const buffer = spare.pop() ?? Buffer.allocUnsafeSlow(quarterBytes)
    try {
      for (let part = effect.quarter; part < quartersPerChunk; part++) {
        const quarter = chunk * quartersPerChunk + part
        if (quarter >= entry.quarters) break
        while (!entry.has(quarter) && !signal.aborted) await this.#wait(serve)
        signal.throwIfAborted()
        const bytes = await entry.read(quarter, buffer, signal)
        onPart(to, entry)
        await sendPart(to, { id, quarter: part }, bytes, signal)
      }
      if (this.#serves.get(to) !== serve) return
      this.#serves.delete(to)
      onSent(to, id)
    } catch (error) {
      if (this.#serves.get(to) !== serve) return
      this.#serves.delete(to)
      onFailed(to, id, entry, error)
    } finally {
      if (spare.length < MAX_SPARE) spare.push(buffer)
    }
  }

  /** The plan ends an answer whose rest does not come. */
  async #wait(serve: Serve): Promise<void> {
    await new Promise<void>((resolve) => {
      serve.wake = resolve
    })
    serve.wake = undefined
  }
}
