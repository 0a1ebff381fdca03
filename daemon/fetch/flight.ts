import type { Digest } from '../../proxy/oci/digest.ts'
import type { Content, ContentInfo } from '../../proxy/ports.ts'
import type { Staging } from '../store/blob-store.ts'
import { isUnstorable, StoreError } from '../store/errors.ts'
import type { StagedBlob } from '../store/staged-blob.ts'
import { releasableBytes } from '../verify/chunk.ts'
import { type HashedPrefix, prove } from '../verify/prove.ts'
import { Notifier } from './notifier.ts'
import type { Session } from './session.ts'
import type { SourceBody } from './source.ts'

/** What the first source said of the content. */
type Facts = ContentInfo & Pick<SourceBody, 'public'>

interface FlightOptions {
  readonly digest: Digest
  /** `registry/repository` that the content is fetched for. */
  readonly repository: string
  /** More bytes than this are refused; manifests are small. */
  readonly maxBytes: number
  readonly stage: (size: number | undefined, onProgress: () => void) => Promise<Staging>
  /** A new session, without the sources that gave wrong bytes before. */
  readonly session: (onFacts: (facts: Facts) => void) => Session
  /** The bytes of a session did not match the digest. */
  readonly onMismatch: (session: Session) => void
  /** The content could not be kept, but is passed through. */
  readonly onUncached: (error: unknown) => void
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
  staged: StagedBlob | undefined
  state: State
}

const newAttempt = (): Attempt => ({ facts: undefined, staged: undefined, state: { name: 'filling' } })

/** Attempts before wrong bytes are reported to the client: each one excludes those who sent them. */
const maxAttempts = 4

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
        const mismatch = await this.#fill()
        if (mismatch === undefined) break
        if (attempt === maxAttempts) throw mismatch
        this.#attempt = newAttempt()
        this.#changed.notify()
      }
    } catch (error) {
      this.#setState({ name: 'failed', error })
    } finally {
      this.#landed = true
      await this.#closeFilesIfUnused()
    }
  }

  /** Joins the flight: waits until a source has answered. @throws why the content can't be had, or the signal's reason */
  async open(signal: AbortSignal): Promise<Content> {
    this.#clients += 1
    try {
      const facts = await this.#waitForFacts(signal)
      let closed = false
      return {
        ...facts,
        read: (start, end, readSignal) => this.#read(facts, start, end, readSignal),
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
    await this.#closeFilesIfUnused()
  }

  async #waitForFacts(signal: AbortSignal): Promise<Facts> {
    for (;;) {
      if (this.#attempt.facts !== undefined) return this.#attempt.facts
      if (this.#attempt.state.name === 'failed') throw this.#attempt.state.error
      await this.#changed.next(signal)
    }
  }

  /** One attempt. @returns the error, if the bytes were wrong */
  async #fill(): Promise<StoreError | undefined> {
    const attempt = this.#attempt
    const session = this.#options.session((facts) => {
      attempt.facts ??= facts
      this.#changed.notify()
    })
    let staging: Staging | undefined
    let received = 0
    try {
      for await (const chunk of session.read(0, this.#abort.signal)) {
        staging ??= await this.#stage(attempt)
        received += chunk.length
        if (received > this.#options.maxBytes) throw new Error(`it has more than ${this.#options.maxBytes} bytes`)
        await staging.blob.write(chunk)
      }
      staging ??= await this.#stage(attempt)
      await staging.blob.finish()
      this.#setState({ name: 'proven' })
      const { mediaType, public: isPublic = false } = attempt.facts ?? {}
      await staging.commit({ mediaType, public: isPublic, repository: this.#options.repository })
      return undefined
    } catch (error) {
      await staging?.abort()
      if (attempt.state.name === 'proven' || isUnstorable(error)) {
        this.#options.onUncached(error)
        if (attempt.state.name !== 'proven') this.#goUncached(attempt)
        return undefined
      }
      if (!(error instanceof StoreError && error.code === 'mismatch')) throw error
      this.#options.onMismatch(session)
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
    this.#setState({ name: 'uncached', prefix })
  }

  #setState(state: State): void {
    this.#attempt.state = state
    this.#changed.notify()
  }

  /** The bytes for one client, who was told `facts`, as they become releasable. */
  async *#read(
    facts: Facts,
    start: number,
    end: number | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    let position = start
    let mine = this.#attempt
    for (;;) {
      if (mine !== this.#attempt) {
        // What this client has got may be wrong. It must see a broken body, not one that goes on with other bytes.
        if (position > start) throw new Error('the bytes received did not match the digest')
        const { size } = await this.#waitForFacts(signal)
        if (size !== facts.size) throw new Error('a source gave a wrong size')
        mine = this.#attempt
      }
      const { staged, state } = mine
      if (state.name === 'failed') throw state.error
      const readable = staged?.readable ?? 0
      const stop = Math.min(
        end ?? Number.POSITIVE_INFINITY,
        state.name === 'proven' ? readable - 1 : Number.POSITIVE_INFINITY,
      )
      if (position > stop) return
      const limit = state.name === 'filling' ? releasableBytes(readable, facts.size) : readable
      if (staged !== undefined && position < limit) {
        for await (const chunk of staged.read(position, Math.min(limit - 1, stop), signal)) {
          position += chunk.length
          yield chunk
        }
      } else if (state.name === 'uncached') {
        yield* this.#passThrough(facts.size, state.prefix(), position, stop, signal)
        return
      } else {
        await this.#changed.next(signal)
      }
    }
  }

  /** The bytes that the store had no room for, from a session of this client's own. */
  async *#passThrough(
    size: number | undefined,
    prefix: HashedPrefix | undefined,
    start: number,
    stop: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, void> {
    const session = this.#options.session(() => {})
    let position = prefix?.length ?? 0
    const body = prove(session.read(position, signal), this.#options.digest, size, prefix)
    for await (const chunk of body) {
      const from = Math.max(0, start - position)
      const to = Math.min(chunk.length, stop + 1 - position)
      position += chunk.length
      if (from < to) yield chunk.subarray(from, to)
    }
  }

  async #closeFilesIfUnused(): Promise<void> {
    if (!this.#landed || this.#clients > 0) return
    for (const file of this.#files.splice(0)) await file.close()
  }
}
