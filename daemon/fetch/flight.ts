import type { Digest } from '../../proxy/oci/digest.ts'
import type { Content, ContentInfo } from '../../proxy/ports.ts'
import { isUnstorable } from '../store/errors.ts'
import type { StagedBlob } from '../store/staged-blob.ts'
import type { Staging } from '../store/staging.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { HashedPrefix } from '../verify/prove.ts'
import { releasableBytes } from '../verify/quarter.ts'
import { Notifier } from './notifier.ts'
import { passThrough } from './pass-through.ts'
import { type Sequence, SourceConflict } from './sequence.ts'
import type { SourceBody } from './source.ts'

/** What the first source said of the content. */
export type Facts = ContentInfo & Pick<SourceBody, 'public'>

interface FlightOptions {
  readonly digest: Digest
  /** `registry/repository` that the content is fetched for. */
  readonly repository: string
  readonly stage: (size: number | undefined, onProgress: () => void) => Promise<Staging>
  /** A new sequence, without the peers that gave wrong bytes before; after such a one, upstream comes first. */
  readonly sequence: (onFacts: (facts: Facts) => void) => Sequence
  /** What a sequence gave was wrong. */
  readonly onWrong: (sequence: Sequence, error: Error) => void
  /** All bytes match the digest. */
  readonly onVerified: (bytes: number) => void
  /** The content could not be kept, but is passed through. */
  readonly onUncached: (error: unknown) => void
  /** The last client has left before the end. */
  readonly onOrphaned: () => void
  /** It is over; called before its files are closed. */
  readonly onLanded: () => void
}

/**
 * - `filling`: bytes arrive
 * - `proven`: all bytes are in the file and match the digest
 * - `uncached`: the store has no room for more; clients go on past `prefix` by themselves
 * - `failed`
 */
type State =
  | { readonly name: 'filling' | 'proven' }
  | { readonly name: 'uncached'; readonly prefix: () => HashedPrefix | undefined }
  | { readonly name: 'failed'; readonly error: unknown }

/** One attempt to fill: wrong bytes end it, and the next one starts from nothing. */
interface Attempt {
  /** Known as soon as a source has answered. */
  facts: Facts | undefined
  /** Whether all sources that answered say that anybody may have the content: private wins. */
  isPublic: boolean
  staged: StagedBlob | undefined
  state: State
}

const newAttempt = (): Attempt => ({ facts: undefined, isPublic: true, staged: undefined, state: { name: 'filling' } })

/** Attempts before wrong bytes are reported to the client: the first with peers, the others with upstream before them. */
const maxAttempts = 3

/**
 * One fetch of one digest in this process, whoever waits for it. Bytes go to a file and from there to any number of
 * clients, so a slow client holds up neither the fetch nor the others, and a client that leaves stops nothing.
 */
export class Flight {
  readonly #options: FlightOptions
  readonly #changed = new Notifier()
  readonly #abort = new AbortController()
  readonly #files: StagedBlob[] = []
  #attempt = newAttempt()
  #clients = 0
  #landed = false

  constructor(options: FlightOptions) {
    this.#options = options
  }

  get clients(): number {
    return this.#clients
  }

  abort(reason: Error): void {
    this.#abort.abort(reason)
  }

  /** Runs until the content is in the store or can't be had; never throws. */
  async run(): Promise<void> {
    try {
      for (let attempt = 1; ; attempt++) {
        const wrong = await this.#fill(this.#attempt)
        if (wrong === undefined) break
        if (attempt === maxAttempts || this.#clients === 0) throw wrong
        this.#attempt = newAttempt()
        this.#changed.notify()
      }
    } catch (error) {
      this.#setState(this.#attempt, { name: 'failed', error })
    }
    this.#landed = true
    // Nobody may join any more when the files are closed.
    this.#options.onLanded()
    await this.#closeFilesIfUnused()
  }

  /** Joins the flight: waits until a source has answered. @throws why the content can't be had, or the signal's reason */
  async open(signal: AbortSignal): Promise<Content> {
    this.#clients += 1
    try {
      const attempt = await this.#answered(signal)
      const facts = attempt.facts as Facts
      let closed = false
      return {
        ...facts,
        isComing: () => this.#attempt.facts?.origin === 'upstream' && this.#attempt.staged !== undefined,
        read: (start, end, readSignal) => this.#read(attempt, facts, start, end, readSignal),
        close: async () => {
          if (closed) return
          closed = true
          await this.#leave()
        },
      }
    } catch (error) {
      await this.#leave()
      throw error
    }
  }

  async #leave(): Promise<void> {
    this.#clients -= 1
    if (this.#clients === 0 && !this.#landed) this.#options.onOrphaned()
    await this.#closeFilesIfUnused()
  }

  /** The current attempt, once it knows its facts. */
  async #answered(signal: AbortSignal): Promise<Attempt> {
    for (;;) {
      const { facts, state } = this.#attempt
      if (facts !== undefined) return this.#attempt
      if (state.name === 'failed') throw state.error
      await this.#changed.next(signal)
    }
  }

  /** @returns the error, if what came was wrong and another attempt makes sense */
  async #fill(attempt: Attempt): Promise<Error | undefined> {
    const sequence = this.#options.sequence((facts) => {
      attempt.facts ??= facts
      attempt.isPublic &&= facts.public
      this.#changed.notify()
    })
    let staging: Staging | undefined
    try {
      for await (const chunk of sequence.read(0, this.#abort.signal)) {
        staging ??= await this.#stage(attempt)
        await staging.blob.write(chunk)
      }
      staging ??= await this.#stage(attempt)
      await staging.blob.finish()
      this.#setState(attempt, { name: 'proven' })
      this.#options.onVerified(staging.blob.readable)
      const { facts, isPublic } = attempt
      await staging.commit({ mediaType: facts?.mediaType, public: isPublic, repository: this.#options.repository })
      return undefined
    } catch (error) {
      await staging?.abort()
      if (attempt.state.name === 'proven' || isUnstorable(error)) {
        this.#options.onUncached(error)
        if (attempt.state.name !== 'proven') this.#goUncached(attempt)
        return undefined
      }
      if (!isWrong(error)) throw error
      this.#options.onWrong(sequence, error)
      return error
    }
  }

  async #stage(attempt: Attempt): Promise<Staging> {
    const staging = await this.#options.stage(attempt.facts?.size, () => this.#changed.notify())
    this.#files.push(staging.blob)
    attempt.staged = staging.blob
    return staging
  }

  #goUncached(attempt: Attempt): void {
    const { staged } = attempt
    const prefix = () => staged && { length: staged.readable, hash: staged.hashOfReadable() }
    this.#setState(attempt, { name: 'uncached', prefix })
  }

  #setState(attempt: Attempt, state: State): void {
    attempt.state = state
    this.#changed.notify()
  }

  /** The bytes for one client, who was told `facts`, as they become releasable. */
  async *#read(
    opened: Attempt,
    facts: Facts,
    start: number,
    end: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    let position = start
    let mine = opened
    for (;;) {
      if (mine !== this.#attempt) {
        // What this client has got may be wrong. It must see a broken body, not one that goes on with other bytes.
        if (position > start) throw new Error('the bytes received did not match the digest')
        mine = await this.#answered(signal)
        if (mine.facts?.size !== facts.size) throw new Error('a source gave a wrong size')
      }
      const { staged, state } = mine
      if (state.name === 'failed') throw state.error
      const readable = staged?.readable ?? 0
      if (state.name === 'proven' && (facts.size ?? readable) !== readable)
        throw new Error('a source gave a wrong size')
      const last = end ?? (facts.size ?? Number.POSITIVE_INFINITY) - 1
      const stop = state.name === 'proven' ? Math.min(last, readable - 1) : last
      if (position > stop && state.name === 'proven') return
      // The last byte that a client asked for completes its response: it is withheld until all is proven.
      const released = state.name === 'filling' ? releasableBytes(readable, facts.size) : readable
      const limit = state.name === 'proven' ? readable : Math.min(released, stop)
      if (staged !== undefined && position < limit) {
        for await (const chunk of staged.read(position, Math.min(limit - 1, stop), signal)) {
          position += chunk.length
          yield chunk
        }
      } else if (state.name === 'uncached') {
        const sequence = this.#options.sequence(() => {})
        const { digest } = this.#options
        try {
          yield* passThrough({ sequence, digest, size: facts.size, prefix: state.prefix() }, position, stop, signal)
          // The last byte of a range that had come before; now the whole is proven.
          if (position < readable) yield* staged?.read(position, stop, signal) ?? []
        } catch (error) {
          if (isWrong(error)) this.#options.onWrong(sequence, error)
          throw error
        }
        return
      } else {
        await this.#changed.next(signal)
      }
    }
  }

  async #closeFilesIfUnused(): Promise<void> {
    if (!this.#landed || this.#clients > 0) return
    // A file that can't be closed (NFS) has nothing more to lose: it was made durable before, or is given up.
    for (const file of this.#files.splice(0)) await file.close().catch(() => {})
  }
}

function isWrong(error: unknown): error is Error {
  return error instanceof DigestMismatch || error instanceof SourceConflict
}
