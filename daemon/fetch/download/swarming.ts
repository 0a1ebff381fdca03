import { maxManifestBytes } from '../../../proxy/oci/manifest.ts'
import { repositoryText } from '../../../proxy/oci/name.ts'
import type { BlobFacts, PeerId } from '../../swarm/ports.ts'
import { Session } from '../../swarm/session/session.ts'
import type { Bitfield } from '../../verify/bitfield.ts'
import { firstDivergence } from '../../verify/check-chunk.ts'
import { GrowingCheckpoints } from '../../verify/checkpoints.ts'
import { messageOf } from '../errors.ts'
import { waitFor } from '../wait.ts'
import type { Assembly } from './assembly.ts'
import { ANSWER_MS, FIRST_PEERS, MAX_PEERS, SECOND_LIST_MS, WANTED_PEERS } from './constants.ts'
import type { Attempt } from './context.ts'
import { Lies } from './lies.ts'
import { PeerTransfers } from './peer-transfers.ts'

/** A peer that is watched for the blob. */
interface Member {
  readonly id: PeerId
  /** Undefined until it has answered. */
  held: Bitfield | undefined
  /** The checkpoints that it has told. */
  list: GrowingCheckpoints | undefined
  isComplete: boolean
  /** Whether chunks are asked of it: it has answered, and its content may be used. */
  isUsed: boolean
  readonly metAt: number
}

/** The peers of one attempt: watches what they hold, asks them for chunks, and finds out who lies. */
export class Swarming {
  readonly #attempt: Attempt
  readonly #members = new Map<PeerId, Member>()
  readonly #transfers: PeerTransfers
  readonly lies: Lies
  readonly #pumpLater = () => this.pump()
  #session: Session | undefined
  #holder: PeerId | undefined
  #isFirstMeeting = true
  #isPumping = false
  #timer: NodeJS.Timeout | undefined

  constructor(attempt: Attempt) {
    this.#attempt = attempt
    this.lies = new Lies({
      attempt,
      onSuspect: (peer) => this.#rest(peer),
      onCaught: (peer, reason) => this.#ban(peer, reason),
      onListChanged: () => {
        for (const member of this.#members.values()) this.#considerList(member)
      },
    })
    this.#transfers = new PeerTransfers(attempt, this.lies, () => this.pump())
    attempt.signal.addEventListener('abort', () => {
      clearTimeout(this.#timer)
      attempt.tools.slots.forget(this.#pumpLater)
    })
  }

  /** Decides what is asked of whom; undefined until the size is known. */
  get session(): Session | undefined {
    return this.#session
  }

  /** The size is known. */
  begin(assembly: Assembly): void {
    this.#session ??= new Session({ held: assembly.held, random: Math.random })
  }

  /** Requests under way. */
  get running(): number {
    return this.#transfers.running
  }

  /** Bytes that peers have sent so far. */
  get bytes(): number {
    return this.#transfers.bytes
  }

  /** Whether peers can't bring the blob further at present. */
  get isStarved(): boolean {
    return this.#transfers.running === 0 && (this.#session?.isStarved ?? true)
  }

  /** Whether a peer has not answered yet that may still do so in time. */
  get isUndecided(): boolean {
    const since = performance.now() - ANSWER_MS
    return [...this.#members.values()].some(({ isUsed, metAt }) => !isUsed && metAt > since)
  }

  /** Whether the node that fetches from upstream is watched. */
  get followsHolder(): boolean {
    return this.#holder !== undefined && this.#members.has(this.#holder)
  }

  /**
   * Watches peers that a coordinator named. Few at first: those who ask first are named to everybody, and would know nobody but
   * each other.
   */
  meetSome(peers: readonly PeerId[]): void {
    const limit = this.#isFirstMeeting ? FIRST_PEERS : WANTED_PEERS
    if (peers.length > 0) this.#isFirstMeeting = false
    for (const peer of peers) if (this.#members.size < limit) this.meet(peer)
  }

  /** Watches a peer that may have the blob or fetches it. */
  meet(peer: PeerId): void {
    const { tools, request, signal, excluded } = this.#attempt
    if (peer === tools.self() || this.#members.has(peer) || excluded.has(peer) || signal.aborted) return
    if (this.#members.size >= MAX_PEERS) return
    const member: Member = {
      id: peer,
      held: undefined,
      list: undefined,
      isComplete: false,
      isUsed: false,
      metAt: performance.now(),
    }
    this.#members.set(peer, member)
    const isCurrent = () => this.#members.get(peer) === member && !signal.aborted
    tools.swarm.watch(
      peer,
      request.digest,
      {
        blob: (facts, held, states, isComplete) => {
          if (!isCurrent()) return
          member.isComplete = isComplete
          this.#answered(member, facts, held, states).catch((error: unknown) => this.#leave(member, messageOf(error)))
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

  /** Who fetches the blob from upstream, as the coordinator says. */
  set holder(peer: PeerId | undefined) {
    this.#holder = peer
    this.#session?.peers.setHolder(peer)
    const member = peer === undefined ? undefined : this.#members.get(peer)
    if (member !== undefined) this.#considerList(member)
  }

  /** The list may have grown: tells the session how many chunks can be verified. */
  sync(): void {
    const { assembly } = this.#attempt
    if (this.#session !== undefined && assembly !== undefined) this.#session.verifiable = assembly.verifiable
  }

  /** Whether peers can be expected to bring the blob further. */
  get isPromising(): boolean {
    const missing = this.#attempt.assembly?.held.firstMissing() ?? 0
    return this.#session?.expects(missing) ?? false
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
    this.sync()
    const { start, cancel, wakeAt } = session.plan(performance.now(), Math.max(0, tools.slots.free))
    for (const id of cancel) this.#transfers.cancel(id, 'it is not needed any more')
    for (const request of start) void this.#transfers.run(request, assembly, session)
    if (tools.slots.free <= 0) tools.slots.whenFree(this.#pumpLater)
    clearTimeout(this.#timer)
    if (wakeAt < Number.POSITIVE_INFINITY)
      this.#timer = setTimeout(this.#pumpLater, Math.max(1, wakeAt - performance.now() + 1))
  }

  /** A peer says what it holds. */
  async #answered(member: Member, facts: BlobFacts, held: Bitfield, states: Uint8Array): Promise<void> {
    const { request, tools } = this.#attempt
    const { size, mediaType, repositories } = facts
    if (request.kind === 'manifest' && size > maxManifestBytes) throw new Error('it is too long for a manifest')
    member.held = held
    member.list = new GrowingCheckpoints(request.digest, size)
    if (states.length > 0) member.list.append(states)
    let isPublic = facts.access === 'public'
    if (!isPublic) {
      const granted = await tools.access.check(request, repositories.includes(repositoryText(request.repository)))
      if (granted === undefined)
        throw new Error(`upstream did not confirm that ${repositoryText(request.repository)} may be read`)
      isPublic = granted === 'public'
    }
    const assembly = await this.#attempt.begin(
      { size, mediaType, repositories, public: isPublic, origin: 'peer' },
      member.id,
    )
    if (this.#members.get(member.id) !== member) return
    this.begin(assembly)
    await this.#secondList(member)
    if (this.#members.get(member.id) !== member || member.held === undefined) return
    member.isUsed = true
    this.#session?.peers.join(member.id, member.held, member.isComplete)
    this.#session?.peers.setHolder(this.#holder)
    this.#considerList(member)
    this.#attempt.changed.notify()
    this.pump()
  }

  /** A list can be compared with a second one before chunks are asked for along it, where somebody else may tell one soon. */
  async #secondList(member: Member): Promise<void> {
    const isOpen = () => [...this.#members.values()].some((other) => other !== member && other.held === undefined)
    const isFirst = ![...this.#members.values()].some(({ isUsed }) => isUsed)
    if (!isFirst || member.list?.known === 0 || !isOpen()) return
    const deadline = AbortSignal.any([this.#attempt.signal, AbortSignal.timeout(SECOND_LIST_MS)])
    const answered = async () => {
      while (isOpen()) await this.#attempt.changed.next(deadline)
    }
    await waitFor(answered(), SECOND_LIST_MS, this.#attempt.signal).catch(() => {})
  }

  #got(member: Member, chunks: readonly number[], states: Uint8Array): void {
    try {
      if (member.held === undefined || member.list === undefined) return
      if (states.length > 0) member.list.append(states)
      for (const chunk of chunks) {
        if (!member.isUsed) member.held.set(chunk)
        else {
          this.#session?.peers.has(member.id, chunk)
          this.#attempt.heard(member.id, chunk)
        }
      }
    } catch (error) {
      this.#leave(member, messageOf(error))
      return
    }
    if (!member.isUsed) return
    if (states.length > 0) this.#considerList(member)
    this.pump()
  }

  #leave(member: Member, reason: string): void {
    const { tools, request, changed } = this.#attempt
    tools.logger.debug({ digest: request.digest, peer: member.id, reason }, 'a peer does not take part')
    this.#members.delete(member.id)
    this.#session?.peers.leave(member.id)
    changed.notify()
    this.pump()
  }

  /** Takes what a peer's list adds to ours, or finds out which of two that differ is false. */
  #considerList(member: Member): void {
    const { assembly } = this.#attempt
    const { list } = member
    if (assembly === undefined || list === undefined || !member.isUsed) return
    const isComplete = list.known === list.chunks - 1
    const differs = firstDivergence(assembly.list, list)
    if (differs === undefined) {
      const isTrusted = isComplete || this.#holder === undefined || this.#holder === member.id
      if (list.known > assembly.list.known && isTrusted) {
        assembly.extend(list.encode(assembly.list.known), member.id)
        this.sync()
        this.#attempt.changed.notify()
      }
      return
    }
    const author = assembly.authorOf(differs)
    const complete = list.complete()
    if (author === 'self') {
      this.lies.accuse(member.id)
      this.#leave(member, 'its checkpoints are not those of what upstream sends')
    } else if (complete !== undefined && assembly.isListComplete && author !== undefined && author !== 'left') {
      this.lies.dispute(member.id, complete, author, assembly)
    } else if (complete !== undefined || this.#holder === member.id) {
      this.#attempt.dropped(assembly.replace(list, member.id))
    }
  }

  /** What is under way from a peer is cancelled, so that it can't waste more. */
  #rest(peer: PeerId): void {
    for (const [id, request] of this.#session?.requests ?? []) {
      if (request.peer === peer) this.#transfers.cancel(id, 'the peer sent a wrong chunk')
    }
    const known = this.#session?.peers.get(peer)
    if (known !== undefined) this.#session?.peers.failed(known, performance.now())
  }

  #ban(peer: PeerId, reason: string): void {
    this.#rest(peer)
    this.#members.delete(peer)
    this.#session?.peers.leave(peer)
    this.#attempt.ban(peer, reason)
    this.pump()
  }
}
