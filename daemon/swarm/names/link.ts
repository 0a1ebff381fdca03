import { setTimeout as delay } from 'node:timers/promises'
import type { PeerId, SignedName } from '../ports.ts'
import {
  FIRST_RETRY_MS,
  FULL_MESSAGE_BYTES,
  LONGEST_RETRY_MS,
  MAX_ASKED,
  MAX_NAMES,
  MAX_PENDING,
  MAX_SUMS,
  PAUSE_MS,
} from './constants.ts'
import { type NameSum, type NamesMessage, sizeOf } from './message.ts'

interface LinkOptions {
  /** Sums of everything that the peer may hear, as it is when it is read. */
  readonly sums: () => Iterable<NameSum>
  /** What the peer may hear of a publisher. */
  readonly namesOf: (publisher: PeerId) => Iterable<SignedName>
  /** Sends a message; resolves when the peer takes more. Rejects where it can't be told. */
  readonly send: (message: NamesMessage) => Promise<void>
  readonly onFailure: (error: unknown) => void
}

/**
 * What one connected peer has still to be told: what is new first, then what it has asked for, then this node's own questions and sums
 * of all that it may hear, in messages with pauses between them. So a node that knows much makes its peers do no more than they let
 * anybody make them do.
 */
export class NameLink {
  readonly #options: LinkOptions
  readonly #closed = new AbortController()
  /** The latest of each name, by publisher. */
  readonly #pending = new Map<string, SignedName>()
  /** Publishers whom the peer has asked for. */
  readonly #asked = new Set<PeerId>()
  /** Publishers whom the peer is to be asked for. */
  readonly #questions = new Set<PeerId>()
  #answer: Iterator<SignedName> | undefined
  #sums: Iterator<NameSum> | undefined
  #isDraining = false
  #failures = 0
  #failedAt = Number.NEGATIVE_INFINITY

  constructor(options: LinkOptions) {
    this.#options = options
  }

  close(): void {
    this.#closed.abort()
    this.#pending.clear()
  }

  /** Tells of one at once. */
  push(name: SignedName): void {
    const key = `${name.publisher} ${name.repository} ${name.reference}`
    this.#pending.delete(key)
    if (this.#pending.size < MAX_PENDING) this.#pending.set(key, name)
    else this.#startSums()
    void this.#drain()
  }

  /** Tells the sums of everything, from the start. */
  pushSums(): void {
    this.#startSums()
    void this.#drain()
  }

  /** The stream has ended, and what was sent last may be lost. */
  broke(): void {
    this.#failed()
    void this.#drain()
  }

  /** Asks for what somebody has published. */
  ask(publisher: PeerId): void {
    if (this.#questions.size < MAX_PENDING) this.#questions.add(publisher)
    void this.#drain()
  }

  /** Answers a question for a publisher, once where it comes again before that. */
  answer(publisher: PeerId): void {
    if (this.#asked.size < MAX_PENDING) this.#asked.add(publisher)
    void this.#drain()
  }

  #startSums(): void {
    this.#sums = this.#options.sums()[Symbol.iterator]()
  }

  /** A peer whose streams fail again and again is told less and less often. */
  #failed(): void {
    this.#startSums()
    const now = performance.now()
    this.#failures = now - this.#failedAt > LONGEST_RETRY_MS ? 1 : this.#failures + 1
    this.#failedAt = now
  }

  async #drain(): Promise<void> {
    if (this.#isDraining) return
    this.#isDraining = true
    const { signal } = this.#closed
    while (!signal.aborted) {
      const rest = this.#failedAt + this.#pauseAfterFailure() - performance.now()
      if (rest > 0) {
        await delay(rest, undefined, { signal, ref: false }).catch(() => {})
        continue
      }
      const message = this.#next()
      if (message === undefined) break
      await this.#options.send(message).catch((error: unknown) => {
        this.#options.onFailure(error)
        if ('ask' in message) for (const publisher of message.ask) this.#questions.add(publisher)
        this.#failed()
      })
      await delay(PAUSE_MS, undefined, { signal, ref: false }).catch(() => {})
    }
    this.#isDraining = false
  }

  #pauseAfterFailure(): number {
    return this.#failures === 0 ? 0 : Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.#failures - 1))
  }

  #next(): NamesMessage | undefined {
    const names = this.#nextNames()
    if (names.length > 0) return { names }
    const ask = [...this.#questions].slice(0, MAX_ASKED)
    for (const publisher of ask) this.#questions.delete(publisher)
    if (ask.length > 0) return { ask }
    const sums: NameSum[] = []
    while (this.#sums !== undefined && sums.length < MAX_SUMS) {
      const { value, done } = this.#sums.next()
      if (done === true) this.#sums = undefined
      else sums.push(value)
    }
    return sums.length > 0 ? { sums } : undefined
  }

  #nextNames(): SignedName[] {
    const names: SignedName[] = []
    let bytes = 0
    while (bytes < FULL_MESSAGE_BYTES && names.length < MAX_NAMES) {
      const name = this.#take()
      if (name === undefined) break
      names.push(name)
      bytes += sizeOf(name)
    }
    return names
  }

  #take(): SignedName | undefined {
    for (const [key, name] of this.#pending) {
      this.#pending.delete(key)
      return name
    }
    for (;;) {
      const told = this.#answer?.next()
      if (told?.done === false) return told.value
      this.#answer = undefined
      const [publisher] = this.#asked
      if (publisher === undefined) return undefined
      this.#asked.delete(publisher)
      this.#answer = this.#options.namesOf(publisher)[Symbol.iterator]()
    }
  }
}
