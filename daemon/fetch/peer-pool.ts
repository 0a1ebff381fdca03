import { Notifier } from './notifier.ts'
import type { BlobSource } from './source.ts'
import { waitFor } from './wait.ts'

/** A lookup that is still running after this many ms is ended; what it found stays. */
const lookupLimit = 5_000

/** Peers that one lookup may bring. */
const maxPeers = 16

/** A source that may be left for a peer. */
interface LeavableSource {
  readonly source: BlobSource
  /** Whether it was left because a peer turned up. */
  wasLeft(): boolean
}

/** The peers of one lookup: they are collected as they are found, and taken one by one. */
export class PeerPool {
  readonly #signal: AbortSignal
  readonly #lookup = new AbortController()
  readonly #changed = new Notifier()
  readonly #found: BlobSource[] = []
  #count = 0
  #isOver = false

  constructor(peers: (signal: AbortSignal) => AsyncIterable<BlobSource>, signal: AbortSignal) {
    this.#signal = signal
    const lookup = AbortSignal.any([signal, this.#lookup.signal, AbortSignal.timeout(lookupLimit)])
    void this.#collect(peers(lookup), lookup)
  }

  /** Ends the lookup. */
  close(): void {
    this.#lookup.abort()
  }

  /** The next peer; undefined when the lookup is over and all are taken, after `ms`, or when the signal is aborted. */
  async next(ms = lookupLimit): Promise<BlobSource | undefined> {
    const end = performance.now() + ms
    while (this.#found.length === 0 && !this.#isOver && !this.#signal.aborted) {
      const left = end - performance.now()
      if (left <= 0) return undefined
      await waitFor(this.#changed.next(this.#signal), left, this.#signal).catch(() => {})
    }
    return this.#signal.aborted ? undefined : this.#found.shift()
  }

  /** A source that is left for a peer that is found from now on: it is nearer than an upstream that hangs. */
  unlessFound(source: BlobSource): LeavableSource {
    let wasLeft = false
    const before = this.#count
    const open = async (offset: number, signal: AbortSignal) => {
      const left = new AbortController()
      const settled = new AbortController()
      const opening = source.open(offset, AbortSignal.any([signal, left.signal]))
      opening.catch(() => {})
      const isFound = this.#whenFound(before, AbortSignal.any([signal, settled.signal]))
      try {
        const opened = await Promise.race([opening, isFound])
        if (opened !== undefined) return opened
        wasLeft = true
        left.abort(new Error('a peer was found meanwhile'))
        throw new Error(`${source.name} was left for a peer that was found meanwhile`)
      } finally {
        settled.abort()
      }
    }
    return { source: { ...source, open }, wasLeft: () => wasLeft }
  }

  /** Resolves when more than `before` peers have been found; never otherwise. */
  #whenFound(before: number, signal: AbortSignal): Promise<undefined> {
    return new Promise((resolve) => {
      const check = async () => {
        while (this.#count === before) {
          if (this.#isOver) return
          await this.#changed.next(signal)
        }
        resolve(undefined)
      }
      check().catch(() => {})
    })
  }

  async #collect(peers: AsyncIterable<BlobSource>, signal: AbortSignal): Promise<void> {
    try {
      for await (const peer of peers) {
        if (signal.aborted) break
        this.#found.push(peer)
        this.#count += 1
        this.#changed.notify()
        if (this.#count === maxPeers) break
      }
    } catch {
      // A lookup that fails has found what it has found.
    } finally {
      this.#isOver = true
      this.#changed.notify()
    }
  }
}
