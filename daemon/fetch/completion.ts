import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../proxy/oci/digest.ts'
import { manifestContents, type NamedContent } from '../../proxy/oci/image-blobs.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import type { Rules } from '../rules.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { AccessControl } from './access.ts'
import { messageOf } from './errors.ts'
import { type Visit, Visits } from './visits.ts'

interface CompletionOptions {
  readonly store: Pick<BlobStore, 'has' | 'fits'>
  readonly access: Pick<AccessControl, 'identityOf'>
  readonly rules: Pick<Rules, 'mayCache'>
  /** Whether peers may have the blobs of an image: where they may not, it is of no use to others that this node holds it whole. */
  readonly mayPeersHave: (manifest: ContentRequest) => Promise<boolean>
  /**
   * Fetches content in order to hold it.
   * @param size in bytes; content of another size is not fetched
   * @throws {OtherSize} or why else that can't be, or the signal's reason
   */
  readonly hold: (request: ContentRequest, size: number) => Promise<void>
  /** Bytes a second on average; 0 for not at all. */
  readonly rate: number
  /** Bytes that an image may lack; one that lacks more is left as it is. */
  readonly limit: number
  /** How long a client's `Authorization` may be used after its last request, in ms. */
  readonly rightsLast: number
  readonly logger: { info(facts: object, message: string): void }
  /** For tests, in ms. */
  readonly quiet?: number
}

/** A client's own requests are over when none has come for this time, in ms. Below it, a slow client is overtaken more often. */
const QUIET_MS = 2_000

/** How often it is looked whether something is to be done, in ms, while there are visits. */
const LOOK_MS = 200

/** What is missing is fetched for this time at most after a client's last request, in ms: an hour. */
const LIFETIME_MS = 3_600_000

/** An image of which nothing shows that it is pulled is forgotten after this time, in ms. Some clients look for a signature first. */
const UNPULLED_MS = 60_000

/** The pause after a first failure, in ms. Each following one is twice as long. */
const REST_MS = 10_000

/** After this number of failures in a row an image is left as it is. */
const MAX_FAILURES = 5

/** Content has another size than its manifest says, which was looked at for limits and room. It will have it next time as well. */
export class OtherSize extends Error {
  /** @param size in bytes; undefined where nobody says it */
  constructor(digest: Digest, size: number | undefined, named: number) {
    super(`${digest} has ${size ?? 'an unknown number of'} bytes, and its manifest says ${named}`)
    this.name = 'OtherSize'
  }
}

/**
 * An image that was pulled is an image that is held. Clients fetch only the layers that they lack, so that of an image this node may
 * have the manifest and little else. The rest is fetched when the client has got what it wanted: one blob at a time, never beside what
 * a client waits for, and in the client's name. Its rights are kept in memory, and no longer than they hold.
 */
export class Completion {
  readonly #options: CompletionOptions
  readonly #quiet: number
  readonly #visits: Visits
  readonly #ended = new AbortController()
  #current: { readonly digest: Digest; readonly abort: AbortController } | undefined
  /** Contents that are being fetched for clients. */
  #clients = 0
  /** What was fetched is paid for by then, at the rate that is set; in ms. */
  #paidAt = 0
  #working: Promise<void> | undefined

  constructor(options: CompletionOptions) {
    this.#options = options
    this.#quiet = options.quiet ?? QUIET_MS
    this.#visits = new Visits((request) => options.access.identityOf(request))
  }

  /** A client gets a manifest, which it may have. */
  passes(request: ContentRequest, manifest: Uint8Array): void {
    const { rate, rules } = this.#options
    if (rate === 0 || this.#ended.signal.aborted || !rules.mayCache(repositoryText(request.repository))) return
    this.#visits.passes(request, manifestContents(manifest), performance.now())
    if (this.#visits.size === 0) return
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
    })
  }

  /** A client asks for content. @returns to be called once when it is over */
  asked(request: ContentRequest): () => void {
    const ends = this.#visits.of(request).map((visit) => visit.opens(request, performance.now()))
    return () => {
      for (const end of ends) end(performance.now())
    }
  }

  /** Content is fetched for a client, which goes before everything here. @returns to be called once when it is over */
  fetches({ digest }: Pick<ContentRequest, 'digest'>): () => void {
    this.#clients++
    if (this.#current !== undefined && this.#current.digest !== digest) {
      this.#current.abort.abort(new Error('a client goes first'))
    }
    return () => {
      this.#clients--
    }
  }

  async close(): Promise<void> {
    this.#ended.abort(new Error('the node is stopping'))
    await this.#working
  }

  async #work(): Promise<void> {
    const { signal } = this.#ended
    while (this.#visits.size > 0 && !signal.aborted) {
      const now = performance.now()
      const mayFetch = this.#clients === 0 && now >= this.#paidAt
      const visit = this.#visits.all().find((one) => this.#isDue(one, now))
      if (visit !== undefined && mayFetch) await this.#goOn(visit)
      else await delay(LOOK_MS, undefined, { signal, ref: false }).catch(() => {})
    }
  }

  #isPulled(visit: Visit): boolean {
    return visit.isPulled((digest) => this.#options.store.has(digest))
  }

  /** Whether something is to be done about what a client got. @param now in ms */
  #isDue(visit: Visit, now: number): boolean {
    const idle = visit.idleFor(now)
    return idle >= this.#quiet && now >= visit.restsUntil && (idle >= UNPULLED_MS || this.#isPulled(visit))
  }

  /** Fetches one more blob of what a client has got, or ends that. */
  async #goOn(visit: Visit): Promise<void> {
    const { store, rightsLast, limit } = this.#options
    const missing = this.#isPulled(visit) ? visit.missing((digest) => store.has(digest)) : []
    const [next, ...more] = missing.length > 0 && (await this.#isOfUse(visit)) ? missing : []
    if (next === undefined) {
      if (visit.fetchedBytes > 0)
        this.#log(visit, 'an image is held whole: what its client had already was fetched, too')
      return this.#visits.end(visit)
    }
    const bytes = [next, ...more].reduce((sum, { size }) => sum + size, 0)
    const lifetime = visit.request.authorization === undefined ? LIFETIME_MS : Math.min(rightsLast, LIFETIME_MS)
    if (visit.idleFor(performance.now()) > lifetime)
      return this.#leave(visit, 'its client has asked for it too long ago')
    if (bytes > limit) return this.#leave(visit, `it lacks ${bytes} bytes, more than store.completeLimit`)
    // What nobody has asked for takes the place of nothing that was used lately: images are kept for when upstream can't be asked.
    if (!(await store.fits(bytes)))
      return this.#leave(visit, `there is no free room for the ${bytes} bytes that it lacks`)
    await this.#fetch(visit, next)
  }

  /** Whether it is of use to others that this node holds an image. */
  async #isOfUse({ request, images }: Visit): Promise<boolean> {
    const { signal } = this.#ended
    for (const digest of images) {
      const asked = this.#options.mayPeersHave({ ...request, kind: 'manifest', digest, signal })
      // When the node stops, nobody needs to know.
      if (!(await asked.catch((error: unknown) => (signal.aborted ? false : Promise.reject(error))))) return false
    }
    return true
  }

  async #fetch(visit: Visit, { digest, size }: NamedContent): Promise<void> {
    // A client may have come meanwhile.
    if (this.#clients > 0) return
    const began = performance.now()
    const abort = new AbortController()
    this.#current = { digest, abort }
    try {
      const limits = [abort.signal, this.#ended.signal, AbortSignal.timeout(LIFETIME_MS)]
      await this.#options.hold({ ...visit.request, kind: 'blob', digest, signal: AbortSignal.any(limits) }, size)
      visit.fetchedBytes += size
      visit.failures = 0
      this.#paidAt = began + (size / this.#options.rate) * 1_000
    } catch (error) {
      if (abort.signal.aborted || this.#ended.signal.aborted) return
      visit.restsUntil = performance.now() + REST_MS * 2 ** visit.failures
      visit.failures++
      if (visit.failures >= MAX_FAILURES || error instanceof OtherSize) this.#leave(visit, messageOf(error))
    } finally {
      this.#current = undefined
    }
  }

  #leave(visit: Visit, reason: string): void {
    this.#visits.end(visit)
    this.#log(visit, 'an image is not held whole, and what it lacks is not fetched', reason)
  }

  #log({ repository, images, fetchedBytes }: Visit, text: string, reason?: string): void {
    this.#options.logger.info({ repository, manifests: images, bytes: fetchedBytes, reason }, text)
  }
}
