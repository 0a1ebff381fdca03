import type { OciError } from '../../../proxy/oci/errors.ts'
import { manifestTooLong } from '../../../proxy/oci/manifest.ts'
import { repositoryText } from '../../../proxy/oci/name.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'
import type { Fetching } from '../../share/local-blob.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { foundIn } from '../access.ts'
import { whyHopeless } from '../errors.ts'
import { Notifier } from '../notifier.ts'
import { waitFor } from '../wait.ts'
import { Assembly } from './assembly.ts'
import { AttemptSize } from './attempt-size.ts'
import { BlobPeers } from './blob-peers.ts'
import { FOLLOW_PATIENCE_MS, LOOKUP_PATIENCE_MS, START_PATIENCE_MS, STEP_MS } from './constants.ts'
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
import { fetchedBlob } from './fetched-blob.ts'
import { KnownFacts } from './known-facts.ts'
import { Lookup } from './lookup.ts'
import { RangeReads } from './range-reads.ts'
import { UpstreamReads } from './upstream-reads.ts'

/** Fetches a blob from peers and upstream, until it is proven or can't be had. */
export class RunningAttempt implements Attempt {
  readonly tools: DownloadTools
  readonly request: ContentRequest
  readonly excluded: Set<PeerId>
  readonly changed = new Notifier()
  readonly signal: AbortSignal
  readonly #options: AttemptOptions
  readonly #ended = new AbortController()
  readonly #peers: BlobPeers
  readonly #upstream: UpstreamReads
  readonly #ranges: RangeReads
  readonly #lookup: Lookup
  readonly #known = new KnownFacts()
  readonly #size: AttemptSize
  #sharing: Fetching | undefined
  #assembly: Assembly | undefined
  #beginning: Promise<Assembly> | undefined
  #failure: { readonly error: unknown } | undefined
  #tooLong: OciError | undefined
  /** When a quarter was held last, in ms. */
  #movedAt = performance.now()

  constructor(options: AttemptOptions) {
    this.#options = options
    this.tools = options.tools
    this.request = options.request
    this.excluded = options.excluded
    this.signal = AbortSignal.any([options.signal, this.#ended.signal])
    this.#peers = new BlobPeers(this)
    this.#size = new AttemptSize({
      attempt: this,
      known: options.size,
      lies: () => this.#peers.lies,
      onRefuted: (peer) => this.excluded.add(peer),
    })
    this.#upstream = new UpstreamReads({
      attempt: this,
      isHead: () => this.#isHead,
      onReadable: (isReadable) => this.#sharing?.readable(isReadable),
    })
    this.#lookup = new Lookup(this, (peers) => this.#sharing?.named(peers))
    const { readings } = options
    this.#ranges = new RangeReads({ attempt: this, readings, upstream: this.#upstream, isHead: () => this.#readsAlone })
  }

  get assembly(): Assembly | undefined {
    return this.#assembly
  }

  get sharing(): Fetching | undefined {
    return this.#sharing
  }

  get facts(): DownloadFacts | undefined {
    return this.#known.facts
  }

  /** Whether upstream let the one who asked first have the blob. */
  get isGranted(): boolean {
    return this.#known.isGranted
  }

  /** Whether clients may be told the size. */
  get isSizeSure(): boolean {
    return this.#size.isSure
  }

  /** Whether the size is more than what some peer says. */
  get isSizeKnown(): boolean {
    return this.#size.isKnown
  }

  /** Whether upstream has said what the blob is, and begun to send it. */
  get isFromUpstream(): boolean {
    return this.#upstream.hasBegun
  }

  /**
   * Runs to the end. What is held stays shared with peers until {@link release}, where it was proven.
   * @throws {DigestMismatch}, {SizeConflict} where what came is wrong; {NotByChunks}; {StoreError}; else why nobody can give it
   */
  async run(): Promise<Assembly> {
    this.#sharing = this.tools.sharing.fetch(
      this.request.digest,
      fetchedBlob({
        tools: this.tools,
        facts: () => this.#known.facts,
        assembly: () => this.#assembly,
        open: this.#options.open,
        peers: this.#peers,
        upstream: this.#upstream,
      }),
    )
    const lookingUp = this.#lookup.run(() => this.#isStuck || this.#isHeldUp)
    try {
      await this.#resume()
      while (this.#assembly?.proven === undefined) {
        if (this.#failure !== undefined) throw this.#failure.error
        this.#step()
        if (this.#isHopeless()) throw whyHopeless(this.#upstream.error, this.#tooLong)
        await waitFor(this.changed.next(this.signal), STEP_MS, this.signal)
      }
      this.tools.onVerified(this.#assembly.size)
      return this.#assembly
    } finally {
      const proven = this.#assembly?.proven
      for (const peer of this.#peers.lies.ofOtherSize(proven)) this.tools.sizes.refuted(peer)
      for (const [peer, reason] of this.#peers.lies.judge(proven)) this.ban(peer, reason)
      this.#ended.abort(new Error('the attempt is over'))
      if (this.#assembly?.proven === undefined) this.release(false)
      // A file that is opened later would stay open, and the blob be taken for one that is being fetched.
      await Promise.allSettled([lookingUp, this.#beginning])
      // A write that lands later would go to the file of whoever opens it next.
      await this.#assembly?.writers.close()
    }
  }

  /** Ends what the swarm has of it. @param isHeld whether the blob is in the store now */
  release(isHeld: boolean): void {
    this.#sharing?.end(isHeld)
    this.#sharing = undefined
  }

  async begin(facts: DownloadFacts, by: PeerId | 'upstream'): Promise<Assembly> {
    if ((facts.size === 0) !== (this.request.digest === emptyDigest)) throw new SizeConflict(facts.size)
    this.#size.hear(facts.size, by)
    // A file that is opened later would stay open.
    this.signal.throwIfAborted()
    this.#beginning ??= this.#open(facts.size)
    const assembly = await this.#beginning
    if (assembly.size !== facts.size) {
      this.#size.check()
      throw new SizeConflict(facts.size, assembly.size)
    }
    this.#size.saidBy(by)
    const wasKnown = this.#known.facts !== undefined
    this.#known.add(facts, by === 'upstream')
    if (this.#known.facts?.public === false && !this.tools.isClosed) this.#sharing?.alone()
    if (!wasKnown) this.#sharing?.sized(assembly.size, assembly.held.indexes())
    this.news()
    const access = this.#known.access(repositoryText(this.request.repository))
    // Another fetch that goes on with it may be one that peers hear of.
    await assembly.partial.saveAccess(this.tools.isAlone === true ? { ...access, public: false } : access)
    return assembly
  }

  held(quarter: number, from?: PeerId): void {
    this.#movedAt = performance.now()
    if (from === undefined) this.#sharing?.held(quarter)
    this.news()
  }

  listGrew(): void {
    if (this.#assembly !== undefined) this.#upstream.settle(this.#assembly)
    this.#sharing?.listGrew()
    this.changed.notify()
  }

  news(): void {
    this.#options.onNews()
    this.changed.notify()
  }

  dropped(quarters: readonly number[]): void {
    // What comes to light later is about a file that nobody reads from any more.
    if (quarters.length > 0 && !this.signal.aborted) this.#options.onDropped(quarters)
    if (this.#assembly !== undefined) this.#sharing?.lost(this.#assembly.held.indexes())
    this.news()
  }

  distrust(peer: PeerId): void {
    this.#size.distrust(peer)
  }

  provenSize(size: number): void {
    this.#size.proven(size)
  }

  ban(peer: PeerId, reason: string): void {
    this.excluded.add(peer)
    this.tools.swarm.ban(peer, `${reason} of ${this.request.digest}`)
  }

  fail(error: unknown): void {
    if (error instanceof WrongLength) this.#size.refute()
    this.#failure ??= { error }
    this.changed.notify()
  }

  tooLong(size: number): OciError {
    this.#tooLong = manifestTooLong(size)
    return this.#tooLong
  }

  get #isHead(): boolean {
    return this.#peers.holder === this.tools.self()
  }

  /** Whether it reads the blob for all, or for itself, as others do not bring it. */
  get #readsAlone(): boolean {
    return this.#isHead || this.#sharing?.isBehind === true
  }

  async #open(size: number): Promise<Assembly> {
    const { store, engine } = this.tools
    const isSure = () => this.#size.isSureOf(size)
    const learn = () => this.#size.learn()
    const partial = await store.partials.open(this.request.digest, size, isSure, learn).catch((cause: unknown) => {
      throw new NotByChunks('the store can not take it', { cause })
    })
    const { leftAccess } = partial
    if (leftAccess?.public === false && foundIn(this.request, leftAccess.repositories) === 'elsewhere') {
      await partial.keep()
      await partial.close()
      throw new NotByChunks('what is here of it came from another registry, which this one can not open')
    }
    const assembly = new Assembly(partial, engine, this.#peers.events)
    this.#assembly = assembly
    this.#known.resume(partial.leftAccess)
    await assembly.settle('left', this.signal, () => {})
    if (size === 0) await assembly.takeNothing()
    return assembly
  }

  /** Goes on with what an earlier fetch has left. */
  async #resume(): Promise<void> {
    const size = await this.tools.store.partials.sizeOf(this.request.digest)
    if (size === undefined || !this.#size.resume(size)) return
    this.#beginning ??= this.#open(size)
    const assembly = await this.#beginning
    this.#sharing?.sized(assembly.size, assembly.held.indexes())
  }

  #step(): void {
    for (const [peer, reason] of this.#peers.caught(performance.now())) this.ban(peer, reason)
    if (this.#assembly === undefined) return
    this.#upstream.settle(this.#assembly)
    const isSought = !this.#size.isSure && this.#options.isSizeSought()
    if (isSought && this.#assembly.held.count > 0) this.#size.seek()
    // Where upstream may still say it, nothing is asked of peers out of its turn.
    this.#ranges.look(this.#assembly, isSought && this.#upstream.hasFailed)
  }

  /** Whether nobody that is known can bring the blob further. */
  get #isStuck(): boolean {
    if (!this.#upstream.hasFailed || this.#upstream.isRunning || this.#peers.isUndecided) return false
    return this.#sharing?.isPromising !== true
  }

  /** Whether peers have promised it and given nothing for a while: others may have it, too. */
  get #isHeldUp(): boolean {
    return this.#upstream.hasFailed && performance.now() - this.#movedAt > LOOKUP_PATIENCE_MS
  }

  /** Whether nothing is under way and nobody is left who could give what is missing. */
  #isHopeless(): boolean {
    if (!this.#upstream.hasFailed || this.#upstream.isRunning) return false
    const patience = (this.#assembly?.held.count ?? 0) === 0 ? START_PATIENCE_MS : FOLLOW_PATIENCE_MS
    if (performance.now() - this.#movedAt > patience) return true
    if (!this.#isStuck) return false
    const { holder } = this.#peers
    if (holder !== undefined && !this.#isHead) return false
    // Who is not allowed to have it is told soon: there may be credentials to try.
    if (!this.#lookup.hasEnded && !this.#upstream.isRefused) return false
    return (this.#assembly?.held.count ?? 0) === 0 || this.#lookup.isExhausted
  }
}
