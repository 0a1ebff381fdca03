import { maxManifestBytes } from '../../../proxy/oci/manifest.ts'
import type { TakenPart } from '../../share/local-blob.ts'
import type { BlobFacts, PeerId } from '../../swarm/ports.ts'
import { quarterLength, quartersPerChunk } from '../../verify/quarter.ts'
import { messageOf } from '../errors.ts'
import { waitFor } from '../wait.ts'
import type { AssemblyEvents } from './assembly.ts'
import { MAX_INTRODUCTIONS, MAX_VIEWS, SECOND_LIST_MS, VERIFIABLE_MS } from './constants.ts'
import { type Attempt, SizeConflict } from './context.ts'
import { Lies } from './lies.ts'
import { Lists } from './lists.ts'
import { PeerAccess } from './peer-access.ts'
import { type SignedPrefix, View } from './view.ts'

/** The peers of one attempt: what they say of the blob, and whether their chunks may be used. */
export class BlobPeers {
  readonly lies = new Lies()
  readonly #attempt: Attempt
  readonly #lists: Lists
  readonly #access: PeerAccess
  readonly #views = new Map<PeerId, View>()
  /** How often each has introduced itself. */
  readonly #introductions = new Map<PeerId, number>()
  #holder: PeerId | undefined

  constructor(attempt: Attempt) {
    this.#attempt = attempt
    this.#access = new PeerAccess(attempt)
    this.#lists = new Lists({
      attempt,
      lies: this.lies,
      views: () => [...this.#views.values()],
      holder: () => this.#holder,
      onView: (view) => this.#sift(view),
      onChanged: () => attempt.listGrew(),
    })
  }

  /** What the blob that is put together tells of its list. */
  get events(): AssemblyEvents {
    return {
      onCut: (dropped) => {
        this.#attempt.dropped(dropped)
        this.#lists.reconsider()
      },
      onLost: (quarter) => this.#attempt.dropped([quarter]),
      onContradicted: (contradiction) => this.#lists.contradicted(contradiction),
    }
  }

  get holder(): PeerId | undefined {
    return this.#holder
  }

  /** Who reads upstream, as the coordinator says. */
  set holder(peer: PeerId | undefined) {
    if (peer === this.#holder) return
    this.#holder = peer
    for (const view of this.#views.values()) this.#lists.consider(view)
  }

  /** The part of our list that somebody has signed, as it was told last. */
  get signed(): SignedPrefix | undefined {
    return this.#lists.signed
  }

  /** Whether a peer has introduced itself, and it is not known yet whether its chunks may be used. */
  get isUndecided(): boolean {
    for (const { isUsed } of this.#views.values()) if (!isUsed) return true
    return false
  }

  /** A peer says what it knows of the blob. */
  introduced(peer: PeerId, facts: BlobFacts): void {
    const { excluded, signal, request, tools } = this.#attempt
    const before = this.#views.get(peer)
    if (peer === tools.self() || excluded.has(peer) || signal.aborted || before?.size === facts.size) return
    const introductions = (this.#introductions.get(peer) ?? 0) + 1
    if (introductions > MAX_INTRODUCTIONS || (before === undefined && this.#views.size >= MAX_VIEWS)) return
    this.#introductions.set(peer, introductions)
    const view = new View({ peer, digest: request.digest, size: facts.size })
    this.#views.set(peer, view)
    this.lies.heard(view)
    this.#meet(view, facts).catch((error: unknown) => this.#leave(view, messageOf(error)))
  }

  /** @throws {RangeError} where the states can't follow what the peer told before */
  listed(
    peer: PeerId,
    from: number,
    states: Uint8Array,
    signature: Pick<SignedPrefix, 'signer' | 'bytes'> | undefined,
  ): void {
    const view = this.#views.get(peer)
    if (view === undefined) return
    if (from !== view.list.known)
      throw new RangeError(`checkpoints from ${from + 1} on, where ${view.list.known} were told`)
    view.listed(states, signature, this.#holder === peer)
    this.#lists.consider(view)
  }

  told(peer: PeerId, chunk: number, isWhole: boolean): void {
    const view = this.#views.get(peer)
    if (view === undefined) return
    const first = chunk * quartersPerChunk
    const end = isWhole ? Math.min(first + quartersPerChunk, view.list.quarters) : first + 1
    for (let quarter = first; quarter < end; quarter++) view.told(quarter)
  }

  /** A peer has gone, or has taken back what it said. */
  parted(peer: PeerId): void {
    this.#views.delete(peer)
    this.#attempt.changed.notify()
  }

  /** Takes a quarter that a peer sent. Where it can't be kept, that is no fault of the peer: the attempt ends, and no link. */
  async take(peer: PeerId, quarter: number, bytes: Buffer): Promise<TakenPart> {
    const { assembly, tools } = this.#attempt
    const view = this.#views.get(peer)
    if (assembly === undefined || view === undefined || quarter >= assembly.quarters) return 'wrong'
    if (bytes.length !== quarterLength(quarter, assembly.size)) return 'wrong'
    const taken = await assembly.takeQuarter(quarter, bytes).catch((error: unknown): TakenPart => {
      this.#attempt.fail(error)
      return 'unknown'
    })
    if (taken === 'held') this.#attempt.held(quarter, peer)
    else if (taken === 'there') tools.onWasted('duplicate', bytes.length)
    else if (taken === 'wrong') {
      tools.onWasted('wrong', bytes.length)
      view.held.clear(quarter)
      this.#lists.wrongQuarter(view, quarter, assembly)
    }
    return taken
  }

  /** Waits for a moment until the list reaches a quarter: its checkpoint and its bytes come by two connections. */
  async verifiable(quarter: number): Promise<boolean> {
    const { signal, changed } = this.#attempt
    const end = performance.now() + VERIFIABLE_MS
    for (;;) {
      const { assembly } = this.#attempt
      if (assembly !== undefined && quarter < assembly.verifiable) return true
      const left = end - performance.now()
      if (left <= 0 || signal.aborted) return false
      await waitFor(changed.next(signal), left, signal).catch(() => {})
    }
  }

  /** Peers that lied and had the time to take it back, each with the reason. */
  *caught(now: number): Generator<[PeerId, string]> {
    yield* this.lies.caught(now, (view) => this.#views.get(view.peer) === view)
  }

  async #meet(view: View, facts: BlobFacts): Promise<void> {
    const { request } = this.#attempt
    const { size, mediaType, repositories } = facts
    if (request.kind === 'manifest' && size > maxManifestBytes) throw this.#attempt.tooLong(size)
    const isPublic = await this.#access.check(facts)
    if (!this.#isCurrent(view)) return
    const heard = { size, mediaType, repositories, public: isPublic, origin: 'peer' } as const
    await this.#attempt.begin(heard, view.peer).catch(async (error: unknown) => {
      if (error instanceof SizeConflict && (await this.#lists.isEndProven(view))) this.#attempt.provenSize(size)
      throw error
    })
    await this.#secondList(view)
    if (!this.#isCurrent(view)) return
    view.isUsed = true
    this.#sift(view)
    this.#lists.consider(view)
  }

  /** A list can be compared with a second one before chunks are asked for along it, where somebody else may tell one soon. */
  async #secondList(view: View): Promise<void> {
    const others = () => [...this.#views.values()].filter((other) => other !== view)
    const isOpen = () => others().some((other) => other.list.known === 0 && !other.isUsed)
    if (view.list.known === 0 || others().some(({ isUsed }) => isUsed) || !isOpen()) return
    const { signal, changed } = this.#attempt
    const end = performance.now() + SECOND_LIST_MS
    while (isOpen() && performance.now() < end)
      await waitFor(changed.next(signal), end - performance.now(), signal).catch(() => {})
  }

  /** Only chunks of peers whose list is ours are used. */
  #sift(view: View): void {
    const { assembly } = this.#attempt
    if (view.isRefuted) this.#attempt.distrust(view.peer)
    if (!this.#isCurrent(view)) return
    this.#attempt.sharing?.follow(view.peer, view.isFollowed && view.size === assembly?.size)
  }

  #isCurrent(view: View): boolean {
    return this.#views.get(view.peer) === view && !this.#attempt.signal.aborted
  }

  #leave(view: View, reason: string): void {
    const { tools, request, changed } = this.#attempt
    if (this.#views.get(view.peer) !== view) return
    tools.logger.debug({ digest: request.digest, peer: view.peer, reason }, 'a peer does not take part')
    this.#views.delete(view.peer)
    changed.notify()
  }
}
