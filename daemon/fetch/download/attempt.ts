import { setTimeout as delay } from 'node:timers/promises'
import type { OciError } from '../../../proxy/oci/errors.ts'
import { manifestTooLong } from '../../../proxy/oci/manifest.ts'
import { repositoryText } from '../../../proxy/oci/name.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'
import type { PeerId } from '../../swarm/ports.ts'
import type { PeerTable } from '../../swarm/session/peer-table.ts'
import { isOffline } from '../errors.ts'
import { Notifier } from '../notifier.ts'
import { waitFor } from '../wait.ts'
import { Assembly } from './assembly.ts'
import { GATHER_MS, STEP_MS } from './constants.ts'
import {
  type Attempt,
  type AttemptOptions,
  type DownloadFacts,
  type DownloadTools,
  emptyDigest,
  NotByChunks,
  SizeConflict,
  WrongLength,
} from './context.ts'
import { KnownFacts } from './known-facts.ts'
import { Lookup } from './lookup.ts'
import { Swarming } from './swarming.ts'
import { UpstreamUse } from './upstream-use.ts'

/** Fetches a blob from peers and upstream, until it is proven or can't be had. */
export class RunningAttempt implements Attempt {
  readonly tools: DownloadTools
  readonly request: ContentRequest
  readonly excluded: Set<PeerId>
  readonly changed = new Notifier()
  readonly signal: AbortSignal
  readonly #options: AttemptOptions
  readonly #ended = new AbortController()
  readonly #swarming: Swarming
  readonly #upstream: UpstreamUse
  #assembly: Assembly | undefined
  #beginning: Promise<Assembly> | undefined
  readonly #known = new KnownFacts()
  #failure: { readonly error: unknown } | undefined
  #tooLong: OciError | undefined
  readonly #sizeSaidBy = new Set<string>()
  readonly #lookup: Lookup

  constructor(options: AttemptOptions) {
    this.#options = options
    this.tools = options.tools
    this.request = options.request
    this.excluded = options.excluded
    this.signal = AbortSignal.any([options.signal, this.#ended.signal])
    this.#swarming = new Swarming(this)
    this.#lookup = new Lookup(this, (peer, isAwaited) => this.#swarming.meet(peer, isAwaited))
    this.#upstream = new UpstreamUse({ attempt: this, swarming: this.#swarming, readings: options.readings })
  }

  get assembly(): Assembly | undefined {
    return this.#assembly
  }

  get facts(): DownloadFacts | undefined {
    return this.#known.facts
  }

  /** Whether upstream let the one who asked first have the blob. */
  get isGranted(): boolean {
    return this.#known.isGranted
  }

  /**
   * Runs to the end.
   * @throws {DigestMismatch}, {SizeConflict} where what came is wrong; {NotByChunks}; {StoreError}; else why nobody can give it
   */
  async run(): Promise<Assembly> {
    const claiming = this.#upstream.run()
    const lookingUp = this.#lookup.run(() => this.#swarming.isStarved && this.#upstream.hasFailed)
    let isProven = false
    try {
      await this.#resume()
      while (this.#assembly?.proven === undefined) {
        if (this.#failure !== undefined) throw this.#failure.error
        this.#step()
        if (this.#isHopeless()) throw this.#whyHopeless()
        await waitFor(this.changed.next(this.signal), STEP_MS, this.signal)
        // What happens in one moment is looked at once.
        if (this.#assembly !== undefined && this.#assembly.proven === undefined) await delay(GATHER_MS)
      }
      isProven = true
      this.tools.onVerified(this.#assembly.size)
      return this.#assembly
    } finally {
      for (const [peer, reason] of this.#swarming.lies.judge(this.#assembly?.proven)) this.ban(peer, reason)
      this.#ended.abort(new Error('the attempt is over'))
      // A file that is opened later would stay open, and the blob be taken for one that is being fetched.
      await Promise.allSettled([claiming, lookingUp, this.#beginning])
      // A write that lands later would go to the file of whoever opens it next.
      await this.#assembly?.writers.close()
      void this.#upstream.end(isProven ? 'done' : 'nothing', this.#options.signal)
    }
  }

  async begin(facts: DownloadFacts, by: PeerId | 'upstream'): Promise<Assembly> {
    if ((facts.size === 0) !== (this.request.digest === emptyDigest)) throw new SizeConflict(facts.size)
    // A file that is opened later would stay open.
    this.signal.throwIfAborted()
    this.#beginning ??= this.#open(facts.size)
    const assembly = await this.#beginning
    if (assembly.size !== facts.size) {
      // Who told the size of what an earlier fetch has left is not known.
      const isGuess = [...this.#sizeSaidBy].every((one) => one === 'left') && !assembly.isSizeProven
      if (by === 'upstream') this.#dropForSize()
      if (isGuess) this.fail(new SizeConflict(assembly.size))
      throw new SizeConflict(facts.size, assembly.size)
    }
    this.#sizeSaidBy.add(by)
    this.#known.add(facts, by === 'upstream')
    this.news()
    await assembly.partial.saveAccess(this.#known.access(repositoryText(this.request.repository)))
    return assembly
  }

  get peers(): PeerTable | undefined {
    return this.#swarming.session?.peers
  }

  meet(peer: PeerId): void {
    this.#swarming.meet(peer)
  }

  held(quarter: number, from?: PeerId): void {
    if (from !== undefined) this.#upstream.gotFromPeer()
    this.#options.onHeld(quarter, from)
    this.changed.notify()
  }

  heard(peer: PeerId, quarter: number): void {
    this.#options.onHeard(peer, quarter)
  }

  news(): void {
    this.#options.onNews()
    this.changed.notify()
  }

  dropped(quarters: readonly number[]): void {
    // What comes to light later is about a file that nobody reads from any more.
    if (quarters.length > 0 && !this.signal.aborted) this.#options.onDropped(quarters)
    this.news()
  }

  distrust(peer: PeerId): void {
    if (!this.#sizeSaidBy.delete(peer) || this.#sizeSaidBy.size > 0 || this.#assembly?.isSizeProven === true) return
    this.excluded.add(peer)
    this.fail(new SizeConflict(this.#assembly?.size ?? 0))
  }

  provenSize(size: number): void {
    const assembly = this.#assembly
    const isRight = assembly === undefined || assembly.size === size || assembly.isSizeProven
    if (isRight || this.#sizeSaidBy.has('upstream')) return
    this.#dropForSize()
    this.fail(new SizeConflict(assembly.size))
  }

  /** Whether the size is more than what some peer says. */
  get isSizeKnown(): boolean {
    const isTold = this.#sizeSaidBy.has('upstream') || this.#sizeSaidBy.has('left')
    return isTold || this.#assembly?.isSizeProven === true
  }

  /** The blob has another size than these peers say. Who said that it has the whole has lied. */
  #dropForSize(): void {
    for (const peer of this.#sizeSaidBy) {
      if (peer === 'upstream' || peer === 'left') continue
      this.excluded.add(peer)
      if (this.#swarming.lies.isWhole(peer)) this.ban(peer, 'told a wrong size')
    }
    this.#sizeSaidBy.clear()
  }

  ban(peer: PeerId, reason: string): void {
    this.excluded.add(peer)
    this.tools.swarm.ban(peer, `${reason} of ${this.request.digest}`)
  }

  fail(error: unknown): void {
    if (error instanceof WrongLength) this.#dropForSize()
    this.#failure ??= { error }
    this.changed.notify()
  }

  async #open(size: number): Promise<Assembly> {
    const { store, engine } = this.tools
    const partial = await store.partials.open(this.request.digest, size).catch((cause: unknown) => {
      throw new NotByChunks('the store can not take it', { cause })
    })
    const assembly = new Assembly(partial, engine, this.#swarming.events)
    this.#assembly = assembly
    this.#known.resume(partial.leftAccess)
    this.#swarming.begin(assembly)
    await assembly.settle('left', this.signal, () => {})
    if (size === 0) await assembly.takeNothing()
    return assembly
  }

  /** Goes on with what an earlier fetch has left. */
  async #resume(): Promise<void> {
    const size = await this.tools.store.partials.sizeOf(this.request.digest)
    if (size === undefined) return
    this.#sizeSaidBy.add('left')
    this.#beginning ??= this.#open(size)
    await this.#beginning
  }

  #step(): void {
    this.#swarming.sync()
    this.#upstream.look()
    this.#swarming.pump()
    this.#upstream.fetch(!this.#lookup.isOver || this.#swarming.isUndecided)
  }

  tooLong(size: number): OciError {
    this.#tooLong = manifestTooLong(size)
    return this.#tooLong
  }

  /** Why nobody can give it. What a peer says of the length counts only where upstream can't say better. */
  #whyHopeless(): unknown {
    const { error } = this.#upstream
    if (this.#tooLong !== undefined && (error === undefined || isOffline(error))) return this.#tooLong
    return error ?? new Error('no peer and no registry can give it')
  }

  /** Whether nothing is under way and nobody is left who could give what is missing. */
  #isHopeless(): boolean {
    if (!this.#lookup.isOver || !this.#upstream.hasFailed || this.#upstream.isRunning) return false
    if (this.#upstream.isHopeless) return true
    if (!this.#swarming.isStarved || this.#swarming.isPromising) return false
    if (this.#swarming.isUndecided || this.#swarming.followsHolder) return false
    // Who is not allowed to have it is told soon: there may be credentials to try.
    const isPatient = !this.#upstream.isRefused && (!this.#lookup.hasEnded || this.#swarming.awaitsAnswer)
    if (isPatient) return false
    return (this.#assembly?.held.count ?? 0) === 0 || this.#lookup.isExhausted
  }
}
