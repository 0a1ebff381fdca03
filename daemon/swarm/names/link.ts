import { setTimeout as delay } from 'node:timers/promises'
import type { SignedName } from '../ports.ts'
import { FIRST_RETRY_MS, FULL_MESSAGE_BYTES, LONGEST_RETRY_MS, MAX_NAMES, MAX_PENDING, PAUSE_MS } from './constants.ts'
import { sizeOf } from './message.ts'

interface LinkOptions {
  /** Everything that the peer may hear, as it is when it is read. */
  readonly all: () => Iterable<SignedName>
  /** Sends records; resolves when the peer takes more. Rejects where it can't be told. */
  readonly send: (names: readonly SignedName[]) => Promise<void>
  readonly onFailure: (error: unknown) => void
}

/**
 * What one connected peer has still to be told: what is new first, then all, in messages with pauses between them. So a node that knows
 * much makes its peers do no more than they let anybody make them do.
 */
export class NameLink {
  readonly #options: LinkOptions
  readonly #closed = new AbortController()
  /** The latest of each name, by publisher. */
  readonly #pending = new Map<string, SignedName>()
  /** What the peer has asked for. */
  #asked: Iterator<SignedName> | undefined
  #all: Iterator<SignedName> | undefined
  #isDraining = false
  #failures = 0

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
    else this.#startAll()
    void this.#drain()
  }

  /** Tells of everything, from the start. */
  pushAll(): void {
    this.#startAll()
    void this.#drain()
  }

  /** Answers a question, in place of one before it. */
  answer(names: Iterable<SignedName>): void {
    this.#asked = names[Symbol.iterator]()
    void this.#drain()
  }

  #startAll(): void {
    this.#all = this.#options.all()[Symbol.iterator]()
  }

  async #drain(): Promise<void> {
    if (this.#isDraining) return
    this.#isDraining = true
    const { signal } = this.#closed
    while (!signal.aborted) {
      const names = this.#next()
      if (names.length === 0) break
      const pause = await this.#options.send(names).then(
        () => {
          this.#failures = 0
          return PAUSE_MS
        },
        (error: unknown) => {
          this.#options.onFailure(error)
          this.#startAll()
          return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures++)
        },
      )
      await delay(pause, undefined, { signal, ref: false }).catch(() => {})
    }
    this.#isDraining = false
  }

  /** What the next message says. */
  #next(): SignedName[] {
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
    const asked = this.#asked?.next()
    if (asked?.done === false) return asked.value
    this.#asked = undefined
    const told = this.#all?.next()
    if (told?.done === false) return told.value
    this.#all = undefined
    return undefined
  }
}
