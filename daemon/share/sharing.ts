import type { Digest } from '../../proxy/oci/digest.ts'
import type { PartHead, PeerId, ShareListener, Swarm } from '../swarm/ports.ts'
import { quarterBytes, quartersPerChunk } from '../verify/quarter.ts'
import { Clock } from './clock.ts'
import { Coordinators } from './coordinators.ts'
import { Entries } from './entries.ts'
import type { SharedEntry } from './entry.ts'
import { Inbox } from './inbox.ts'
import type { FetchedBlob, Fetching } from './local-blob.ts'
import { NotShared } from './open-blob.ts'
import { Outbox } from './outbox.ts'
import { Partners } from './partner.ts'
import type { Turn } from './plan/messages.ts'
import { NUMBERS } from './plan/numbers.ts'
import type { Effect } from './plan/steps.ts'
import { Runner } from './runner.ts'
import { Serving } from './serving.ts'
import type { SharedStore } from './stored.ts'

interface SharingOptions {
  readonly swarm: Pick<Swarm, 'self' | 'links' | 'coordination' | 'siteOf' | 'canGive'>
  /** Where this node is; undefined where nobody has said. */
  readonly site?: string | undefined
  /** Whether anybody may be in the swarm; only known peers are where it is left out. */
  readonly isOpen?: boolean
  readonly content: SharedStore
  /** Bytes of blobs came from peers, or went to them; far ones are at another site. */
  readonly onMoved: (direction: 'in' | 'out', bytes: number, isFar: boolean) => void
  /** How long a blob of the store takes part after anybody has spoken of it, in ms; a minute where it is left out. */
  readonly keptMs?: number
}

/** In ms: as long as a link stays without traffic. Sooner, a blob is opened anew for peers that come one after the other. */
const KEPT_MS = 60_000

/**
 * Runs the plan of this node: what peers say and send comes in here, and what it decides is done. It moves bytes and messages: what
 * is right, and whose word counts, is the fetch's to say.
 */
export class Sharing implements ShareListener {
  readonly #options: SharingOptions
  readonly #clock = new Clock()
  readonly #runner: Runner
  readonly #partners: Partners
  readonly #entries: Entries
  readonly #inbox: Inbox
  readonly #outbox: Outbox
  readonly #serving: Serving
  readonly #coordinators: Coordinators
  #isStopped = false

  constructor(options: SharingOptions) {
    this.#options = options
    const { swarm, content, site, isOpen, keptMs = KEPT_MS } = options
    const canGive = (peer: PeerId) => swarm.canGive(peer)
    this.#partners = new Partners(canGive)
    this.#runner = new Runner({
      clock: this.#clock,
      lastByteAt: (peer, direction) => this.#lastByteAt(peer, direction),
      isFar: site === undefined ? undefined : (peer) => this.#isFar(peer),
      isOpen,
      onEffect: (effect) => this.#do(effect),
    })
    this.#outbox = new Outbox((peer, message) => swarm.links.send(peer, message))
    this.#serving = new Serving({
      sendPart: (...part) => swarm.links.sendPart(...part),
      onPart: (to, entry) => this.#tellList(to, entry),
      onSent: (to, id) => this.#runner.step({ kind: 'sent', to, id }),
      onFailed: (to, id, entry, error) => this.#cut(to, id, entry, error),
    })
    const parts = { runner: this.#runner, partners: this.#partners, outbox: this.#outbox }
    this.#entries = new Entries({ ...parts, serving: this.#serving, content, keptMs })
    this.#inbox = new Inbox({ ...parts, entries: this.#entries })
    this.#coordinators = new Coordinators({
      clock: this.#clock,
      self: () => swarm.self,
      coordination: {
        coordinators: (digest) => swarm.coordination.coordinators(digest),
        announced: (digest) => swarm.coordination.announced(digest),
        tell: (peer, message) => swarm.coordination.tell(peer, message),
      },
      numbers: NUMBERS,
      siteOf: (peer) => swarm.siteOf(peer),
      canGive,
      onTurns: (heard) => {
        const turns = heard.map((turn) => ({ ...turn, members: turn.members.filter(canGive) }))
        for (const { blob, head } of turns) this.#entries.of(blob)?.fetched?.headed(head)
        this.#runner.step(turns.map((turn) => ({ kind: 'turn', turn }) as const))
      },
    })
  }

  /** Blobs that take part, and peers that this node has a link with. */
  get status(): { readonly blobs: number; readonly peers: number } {
    return { blobs: this.#entries.size, peers: this.#partners.size }
  }

  /** A blob is fetched from now on, until the hold on it is ended. */
  fetch(digest: Digest, blob: FetchedBlob): Fetching {
    const fetching = this.#entries.fetch(digest, blob)
    const { coordination, self } = this.#options.swarm
    const found = (peers: readonly PeerId[]) => fetching.named(peers.filter((peer) => peer !== self))
    coordination
      .recorded(digest)
      .then(found)
      .catch(() => {})
    return fetching
  }

  /**
   * Clients will probably ask for these blobs soon, which are not held: those who have them are found and made neighbours, so that
   * {@link fetch} asks them at once. Coordinators and neighbours are told of all in one message for each. Forgotten after a minute.
   * @param digests of one image, at most 256
   */
  foresee(digests: readonly Digest[]): void {
    if (this.#isStopped) return
    const { coordination, self } = this.#options.swarm
    const added = this.#entries.foresee(digests)
    const recorded = added.map(async (blob) => {
      const peers = await coordination.recorded(blob)
      return { kind: 'named', blob, peers: peers.filter((peer) => peer !== self) } as const
    })
    Promise.all(recorded).then(
      (named) => this.#runner.step(named.filter(({ peers }) => peers.length > 0)),
      () => {},
    )
  }

  /** See {@link Coordinators.turn}; `turnEnded` is to be called by whoever was given one. */
  async turn(key: Digest, wish: 'part' | 'hungry', signal: AbortSignal): Promise<Turn | undefined> {
    return await this.#coordinators.turn(key, wish, signal)
  }

  /** This node has done what it had the turn for, or could not. */
  turnEnded(key: Digest, isDone: boolean): void {
    this.#coordinators.want([{ blob: key, brought: 0, wish: isDone ? 'done' : 'gone', sought: 0 }])
  }

  /** A blob is about to be deleted from the store: peers that share it and its coordinator are told. Resolves when its file is closed. */
  async withdraw(digest: Digest): Promise<void> {
    const entry = this.#entries.of(digest)
    if (this.#isStopped || entry?.fetched !== undefined) return
    this.#coordinators.want([{ blob: digest, brought: 0, wish: 'gone', sought: 0 }])
    if (entry !== undefined) await this.#entries.withdraw(entry)
  }

  /** Ends all; nothing is sent or told any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#clock.stop()
    this.#runner.stop()
    this.#coordinators.stop()
    this.#serving.stopAll()
    await this.#entries.close()
  }

  message(peer: PeerId, bytes: Uint8Array): void {
    if (!this.#isStopped) this.#inbox.message(peer, bytes)
  }

  async part(peer: PeerId, head: PartHead, bytes: Buffer): Promise<void> {
    if (!this.#isStopped) await this.#inbox.part(peer, head, bytes)
  }

  moved(peer: PeerId, direction: 'in' | 'out', bytes: number): void {
    this.#partners.get(peer)?.moves(direction, bytes / quarterBytes, this.#clock.now)
    this.#options.onMoved(direction, bytes, this.#isFar(peer))
  }

  gone(peer: PeerId): void {
    const partner = this.#partners.get(peer)
    if (partner === undefined || this.#isStopped) return
    this.#runner.step({ kind: 'left', peer })
    this.#serving.stop(peer)
    this.#partners.delete(peer)
    partner.close()
    for (const { entry } of [...partner.acquaintances.values()]) {
      partner.part(entry.digest)
      entry.fetched?.parted(peer)
      this.#entries.look(entry)
    }
  }

  claim(peer: PeerId, message: unknown): void {
    if (!this.#isStopped) this.#coordinators.heard(peer, message)
  }

  joined(peer: PeerId): void {
    if (!this.#isStopped) this.#coordinators.joined(peer)
  }

  left(peer: PeerId): void {
    if (!this.#isStopped) this.#coordinators.left(peer)
  }

  #do(effect: Effect): void {
    switch (effect.kind) {
      case 'send':
        this.#send(effect)
        break
      case 'serve': {
        const entry = this.#entries.of(effect.blob)
        this.#partners.of(effect.to).moves('out', 0, this.#clock.now)
        if (entry === undefined) break
        this.#entries.use(entry)
        this.#serving.start(effect, entry)
        break
      }
      case 'stop':
        this.#serving.stop(effect.to, effect.id)
        break
      case 'read':
        this.#entries.of(effect.blob)?.fetched?.read(effect.chunk * quartersPerChunk + effect.quarter)
        break
      case 'unread':
        this.#entries.of(effect.blob)?.fetched?.unread()
        break
      case 'want':
        this.#coordinators.want(effect.wants.filter(({ blob }) => this.#entries.of(blob)?.isRestarting !== true))
        break
    }
  }

  #send({ to, message }: Extract<Effect, { kind: 'send' }>): void {
    const partner = this.#partners.of(to)
    const entryOf = (blob: string) => this.#entries.of(blob)
    if (message.kind === 'bye') {
      const entry = entryOf(message.blob)
      this.#outbox.leave(partner, message.blob)
      // It is told anew in a moment.
      if (entry?.isRestarting === true) return
      this.#outbox.send(partner, message, entryOf)
      partner.part(message.blob as Digest)
      // It is introduced under another number where it is spoken of again.
      partner.unname(message.blob as Digest)
      if (entry !== undefined) this.#entries.look(entry)
      return
    }
    if (message.kind === 'ask') partner.asks(message.id)
    if (message.kind === 'leave') partner.ends(message.id)
    this.#outbox.send(partner, message, entryOf)
  }

  #tellList(to: PeerId, entry: SharedEntry): void {
    const acquaintance = this.#partners.get(to)?.acquaintances.get(entry.digest)
    if (acquaintance !== undefined) this.#outbox.list(to, acquaintance)
  }

  /** An answer can't be sent to its end. */
  #cut(to: PeerId, id: number, entry: SharedEntry, error: unknown): void {
    this.#outbox.send(this.#partners.of(to), { kind: 'cut', id }, () => undefined)
    this.#runner.step({ kind: 'message', from: to, message: { kind: 'leave', id } })
    // It went from the store without a word, or peers may not have it any more.
    if (error instanceof NotShared && entry.isStored) this.withdraw(entry.digest).catch(() => {})
  }

  /** Where one of two nodes does not know its site, they count as near each other. */
  #isFar(peer: PeerId): boolean {
    const { site, swarm } = this.#options
    const other = site === undefined ? undefined : swarm.siteOf(peer)
    return other !== undefined && other !== site
  }

  #lastByteAt(peer: PeerId, direction: 'in' | 'out'): number {
    if (direction === 'out' && this.#serving.isWaiting(peer)) return this.#clock.now
    return this.#partners.get(peer)?.movedAt[direction] ?? Number.NEGATIVE_INFINITY
  }
}
