import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { COALESCE_MS, FIRST_RETRY_MS, LONGEST_RETRY_MS, MAX_KEYS, MAX_PENDING } from './constants.ts'
import type { Kind } from './message.ts'

/** Sends blobs of one kind to the peer of a link, {@link MAX_KEYS} at most. Rejects where it did not take them in time. */
export type Send = (kind: Kind, digests: readonly Digest[]) => Promise<void>

/** What one connected peer has still to be told. */
export class Link {
  readonly #send: Send
  /** What holds now of a blob is in one of them at most. So the order of changes does not matter. */
  readonly #pending: Readonly<Record<Kind, Set<Digest>>> = { place: new Set(), withdraw: new Set() }
  readonly #closed = new AbortController()
  #isDraining = false
  /** Blobs that it is being told of. */
  readonly #placing = new Set<Digest>()
  #failures = 0
  #retryAt = 0
  #wantsAll = true

  constructor(send: Send) {
    this.#send = send
  }

  /** Blobs that the peer has still to be told of. */
  get pending(): number {
    return this.#pending.place.size + this.#placing.size
  }

  /** Whether the peer is to be told of all blobs. */
  get wantsAll(): boolean {
    return this.#wantsAll
  }

  /** Milliseconds until it is worth telling it anything. */
  get pauseMs(): number {
    return Math.max(0, this.#retryAt - performance.now())
  }

  get signal(): AbortSignal {
    return this.#closed.signal
  }

  /** To be told of all blobs, again. */
  wantAll(): void {
    this.#wantsAll = true
  }

  /** To be called before the peer is told of all blobs; what fails in it calls {@link wantAll}. */
  beginAll(): void {
    this.#wantsAll = false
  }

  close(): void {
    this.#closed.abort()
    this.#pending.place.clear()
    this.#pending.withdraw.clear()
  }

  /** Tells the peer in a few milliseconds, together with what else comes until then. */
  push(kind: Kind, digest: Digest): void {
    if (this.#closed.signal.aborted) return
    for (const changes of [this.#pending.place, this.#pending.withdraw, this.#placing]) changes.delete(digest)
    if (this.#size >= MAX_PENDING) {
      // What is not told of a blob taken back is found out by asking this node for it.
      if (kind === 'place') this.#wantsAll = true
      return
    }
    this.#pending[kind].add(digest)
    void this.#drain()
  }

  /** Sends now. Rejects where the peer did not take it; it is then left alone for a time. */
  async send(kind: Kind, digests: readonly Digest[]): Promise<void> {
    try {
      await this.#send(kind, digests)
      this.#failures = 0
      this.#retryAt = 0
    } catch (error) {
      this.#failures++
      this.#retryAt = performance.now() + Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.#failures - 1))
      throw error
    }
  }

  get #size(): number {
    return this.#pending.place.size + this.#pending.withdraw.size
  }

  /** Goes on until nothing waits: what the peer did not take is sent again, unless something newer holds for the blob. */
  async #drain(): Promise<void> {
    if (this.#isDraining) return
    this.#isDraining = true
    while (this.#size > 0) {
      await delay(Math.max(COALESCE_MS, this.pauseMs), undefined, { signal: this.signal, ref: false }).catch(() => {})
      const kind = this.#pending.place.size > 0 ? 'place' : 'withdraw'
      const digests = [...this.#pending[kind].values().take(MAX_KEYS)]
      for (const digest of digests) this.#pending[kind].delete(digest)
      if (digests.length === 0) continue
      if (kind === 'place') for (const digest of digests) this.#placing.add(digest)
      await this.send(kind, digests).catch(() => this.#restore(kind, digests))
      this.#placing.clear()
    }
    this.#isDraining = false
  }

  #restore(kind: Kind, digests: readonly Digest[]): void {
    if (this.#closed.signal.aborted) return
    const other = this.#pending[kind === 'place' ? 'withdraw' : 'place']
    for (const digest of digests) if (!other.has(digest)) this.#pending[kind].add(digest)
  }
}
