import { maxManifestBytes } from '../../../proxy/oci/manifest.ts'
import type { BlobFacts, PeerId } from '../../swarm/ports.ts'
import { Session } from '../../swarm/session/session.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { messageOf } from '../errors.ts'
import { waitFor } from '../wait.ts'
import type { Assembly, AssemblyEvents } from './assembly.ts'
import { MAX_PEERS, SECOND_LIST_MS, WANTED_PEERS } from './constants.ts'
import { type Attempt, SizeConflict } from './context.ts'
import { Lies } from './lies.ts'
import { Lists } from './lists.ts'
import { type Member, Members } from './members.ts'
import { PeerAccess } from './peer-access.ts'
import { PeerTransfers } from './peer-transfers.ts'
import { type Told, View } from './view.ts'

/** The peers of one attempt: watches what they hold, and asks them for chunks. */
export class Swarming {
  readonly lies = new Lies()
  readonly #attempt: Attempt
  readonly #members = new Members()
  readonly #transfers: PeerTransfers
  readonly #lists: Lists
  readonly #access: PeerAccess
  readonly #pumpLater = () => this.pump()
  #session: Session | undefined
  #holder: PeerId | undefined
  #isPumping = false
  #timer: NodeJS.Timeout | undefined

  constructor(attempt: Attempt) {
    this.#attempt = attempt
    this.#access = new PeerAccess(attempt)
    this.#lists = new Lists({
      attempt,
      lies: this.lies,
      views: () => this.#members.views(),
      holder: () => this.#holder,
      onView: (view) => this.#sift(view),
      onChanged: () => {
        this.sync()
        this.pump()
        attempt.changed.notify()
      },
    })
    this.#transfers = new PeerTransfers({
      attempt,
      viewOf: (peer) => this.#members.get(peer)?.view,
      onWrong: (view, chunk, assembly) => this.#lists.wrongQuarter(view, chunk, assembly),
      onEnd: () => this.pump(),
    })
    attempt.signal.addEventListener('abort', () => {
      clearTimeout(this.#timer)
      attempt.tools.slots.forget(this.#pumpLater)
    })
  }

  /** What the blob that is put together tells of its list. */
  get events(): AssemblyEvents {
    return {
      onCut: (dropped) => {
        this.#attempt.dropped(dropped)
        this.#lists.reconsider()
      },
      onLost: (chunk) => this.#attempt.dropped([chunk]),
      onContradicted: (contradiction) => this.#lists.contradicted(contradiction),
    }
  }

  /** Decides what is asked of whom; undefined until the size is known. */
  get session(): Session | undefined {
    return this.#session
  }

  /** The size is known. */
  begin(assembly: Assembly): void {
    this.#session ??= new Session({ held: assembly.held, pace: this.#attempt.tools.pace, now: performance.now() })
  }

  /** Peers that take part. */
  get size(): number {
    return this.#members.size
  }

  /** Bytes that peers have sent so far. */
  get bytes(): number {
    return this.#transfers.bytes
  }

  /** Whether peers can't bring the blob further at present. */
  get isStarved(): boolean {
    return this.#transfers.running === 0 && (this.#session?.isStarved ?? true)
  }

  /** Whether they can't, or only those could who have long been busy; and not just because this node's line is slow. */
  get isRefused(): boolean {
    const session = this.#session
    if (session === undefined) return true
    if (this.#transfers.running > 0) return false
    return session.isRefused && session.isQuiet(performance.now(), this.#attempt.tools.slots.isIdle)
  }

  /** Whether a peer has not answered yet that may still do so in time. */
  get isUndecided(): boolean {
    return this.#members.isUndecided(performance.now())
  }

  /** Whether a peer that announced the blob has not answered yet, and may still have it. */
  get awaitsAnswer(): boolean {
    return this.#members.awaitsAnswer(performance.now())
  }

  /** Whether the node that fetches from upstream is watched. */
  get followsHolder(): boolean {
    return this.#holder !== undefined && this.#members.get(this.#holder) !== undefined
  }

  /**
   * Watches peers that a coordinator named, but few of them: others come by themselves, and those who ask first are named to
   * everybody, and would know nobody but each other.
   */
  meetSome(peers: readonly PeerId[]): void {
    for (const peer of peers) if (this.#members.size < WANTED_PEERS) this.meet(peer)
  }

  /** Watches a peer that fetches the blob, or has announced it. @param isAwaited see {@link awaitsAnswer} */
  meet(peer: PeerId, isAwaited = false): void {
    const { tools, request, signal, excluded } = this.#attempt
    if (peer === tools.self() || excluded.has(peer) || signal.aborted) return
    const limit = peer === this.#holder ? 2 * MAX_PEERS : MAX_PEERS
    const member = this.#members.meet(peer, isAwaited, limit, performance.now())
    if (member === undefined) return
    const isCurrent = () => this.#members.includes(member) && !signal.aborted
    tools.swarm.watch(
      peer,
      request.digest,
      {
        blob: (facts, held, states, isComplete) => {
          if (!isCurrent() && !this.#returns(member)) return
          this.#answered(member, facts, { held, states, isComplete }).catch((error: unknown) =>
            this.#leave(member, messageOf(error)),
          )
        },
        got: (chunks, states) => {
          if (isCurrent()) this.#got(member, chunks, states)
        },
        gone: () => {
          if (isCurrent()) this.#leave(member, 'it can not give the blob')
        },
      },
      signal,
    )
  }

  /** A peer that has taken back what it said says something else. @returns whether it takes part again */
  #returns(member: Member): boolean {
    const { signal, excluded } = this.#attempt
    return !signal.aborted && !excluded.has(member.id) && this.#members.readmit(member)
  }

  /** Who fetches the blob from upstream, as the coordinator says. */
  set holder(peer: PeerId | undefined) {
    this.#holder = peer
    if (peer !== undefined) this.meet(peer)
    this.#session?.peers.setHolder(peer)
    const view = peer === undefined ? undefined : this.#members.get(peer)?.view
    if (view !== undefined) this.#lists.consider(view)
  }

  /** The list may have grown: tells the session how many chunks can be verified. */
  sync(): void {
    const { assembly } = this.#attempt
    if (this.#session !== undefined && assembly !== undefined) this.#session.verifiable = assembly.verifiable
  }

  /** Whether peers can be expected to bring the blob further. */
  get isPromising(): boolean {
    return this.#session?.expects(this.#attempt.assembly?.held.firstMissing() ?? 0) ?? false
  }

  /** The list has grown, or chunks came from elsewhere. */
  pump(): void {
    if (this.#isPumping || this.#attempt.signal.aborted) return
    this.#isPumping = true
    setImmediate(() => {
      this.#isPumping = false
      if (!this.#attempt.signal.aborted) this.#plan()
    })
  }

  #plan(): void {
    const { assembly, tools } = this.#attempt
    const session = this.#session
    if (session === undefined || assembly === undefined || assembly.proven !== undefined) return
    const now = performance.now()
    for (const [peer, reason] of this.lies.caught(now, (view) => this.#members.get(view.peer)?.view === view))
      this.#attempt.ban(peer, reason)
    this.sync()
    const { start, cancel, wakeAt } = session.plan(now, tools.slots.room)
    for (const id of cancel) this.#transfers.cancel(id, 'it is not needed any more')
    for (const request of start) void this.#transfers.run(request, assembly, session)
    if (tools.slots.spare <= 0) tools.slots.whenFree(this.#pumpLater)
    // It may have been called to take a slot that it has no use for.
    else tools.slots.callNext()
    clearTimeout(this.#timer)
    if (wakeAt < Number.POSITIVE_INFINITY) this.#timer = setTimeout(this.#pumpLater, Math.max(1, wakeAt - now + 1))
  }

  /** A peer says what it holds. */
  async #answered(member: Member, facts: BlobFacts, told: Told): Promise<void> {
    const { request } = this.#attempt
    const { size, mediaType, repositories } = facts
    if (request.kind === 'manifest' && size > maxManifestBytes) throw this.#attempt.tooLong(size)
    member.introductions++
    const view = new View({ peer: member.id, digest: request.digest, size, ...told })
    member.view = view
    this.lies.heard(view)
    const isCurrent = () => this.#members.get(member.id)?.view === view
    try {
      const isPublic = await this.#access.check(facts)
      if (!isCurrent()) return
      const heard = { size, mediaType, repositories, public: isPublic, origin: 'peer' } as const
      const assembly = await this.#attempt.begin(heard, member.id).catch(async (error: unknown) => {
        if (error instanceof SizeConflict && (await this.#lists.isEndProven(view))) this.#attempt.provenSize(size)
        throw error
      })
      if (!isCurrent()) return
      this.begin(assembly)
      await this.#secondList(view)
    } catch (error) {
      if (isCurrent()) throw error
      return
    }
    if (!isCurrent()) return
    view.isUsed = true
    this.#sift(view)
    this.#lists.consider(view)
    this.#attempt.changed.notify()
    this.pump()
  }

  /** A list can be compared with a second one before chunks are asked for along it, where somebody else may tell one soon. */
  async #secondList(view: View): Promise<void> {
    const isOpen = () => this.#members.others(view.peer).some((other) => other.view === undefined)
    const isFirst = !this.#members.others(view.peer).some((other) => other.view?.isUsed === true)
    if (!isFirst || view.list.known === 0 || !isOpen()) return
    const deadline = AbortSignal.any([this.#attempt.signal, AbortSignal.timeout(SECOND_LIST_MS)])
    const answered = async () => {
      while (isOpen()) await this.#attempt.changed.next(deadline)
    }
    await waitFor(answered(), SECOND_LIST_MS, this.#attempt.signal).catch(() => {})
  }

  #got(member: Member, chunks: readonly number[], states: Uint8Array): void {
    const { view } = member
    if (view === undefined) return
    try {
      view.got(chunks, states, this.#holder === member.id)
      for (const chunk of chunks) {
        // Both: the session may not know the peer yet, or any more.
        const isKnown = view.isFollowed && this.#session?.peers.has(member.id, chunk) === true
        if (view.held.set(chunk) || isKnown) this.#attempt.heard(member.id, chunk)
      }
    } catch (error) {
      this.#leave(member, messageOf(error))
      return
    }
    if (!view.isUsed) return
    if (states.length > 0 || view.isApart) this.#lists.consider(view)
    this.pump()
  }

  /** Only peers whose list is ours are asked for chunks. */
  #sift(view: View): void {
    if (view.isRefuted) this.#attempt.distrust(view.peer)
    const peers = this.#session?.peers
    if (!view.isUsed || peers === undefined || view.size !== this.#attempt.assembly?.size) return
    const held = view.isFollowed ? view.held : new Bitfield(view.held.length)
    peers.join(view.peer, held, view.isFollowed && view.isComplete)
    peers.setHolder(this.#holder)
    // One that comes back may still have requests under way.
    const known = peers.get(view.peer)
    const mine = [...(this.#session?.requests.values() ?? [])].filter(({ peer }) => peer === view.peer)
    if (known !== undefined) known.load = mine.length
    if (!view.isFollowed) for (const { id } of mine) this.#transfers.cancel(id, 'its list is another one')
    this.pump()
  }

  #leave(member: Member, reason: string): void {
    const { tools, request, changed } = this.#attempt
    tools.logger.debug({ digest: request.digest, peer: member.id, reason }, 'a peer does not take part')
    this.#members.leave(member, performance.now())
    this.#session?.peers.leave(member.id)
    changed.notify()
    this.pump()
  }
}
