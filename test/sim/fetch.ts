import { MAX_PEERS } from '../../daemon/fetch/download/constants.ts'
import { Announcer } from '../../daemon/swarm/session/announcer.ts'
import { Session } from '../../daemon/swarm/session/session.ts'
import { Bitfield } from '../../daemon/verify/bitfield.ts'
import { Claimant } from './claimant.ts'
import type { Machine } from './machine.ts'
import { chunksOf } from './scenario.ts'
import { Transfer } from './transfer.ts'
import type { World } from './world.ts'

/** What arrives within this time is told in one message, in ms. */
const BATCH_MS = 2

/** How often progress of requests is told, in ms. */
const PROGRESS_MS = 250

/** One layer at one node: the session and the I/O around it. */
export class Fetch {
  readonly world: World
  readonly machine: Machine
  readonly layer: number
  readonly held: Bitfield
  readonly session: Session
  readonly announcer: Announcer
  readonly claimant: Claimant
  /** Those that tell it what they hold, and those that it tells. */
  readonly connected = new Map<string, Fetch>()
  readonly watchers = new Map<string, Fetch>()
  readonly #transfers = new Map<number, Transfer>()
  /** How far the list goes that each peer has told. */
  readonly #lists = new Map<string, number>()
  readonly #planLater = () => this.world.after(0, () => this.plan())
  #tellAt = Number.POSITIVE_INFINITY
  #wakeAt = Number.POSITIVE_INFINITY
  #progressAt = 0
  /** The chunk that its client waits for, and since when. */
  #front = 0
  #frontAt = Number.POSITIVE_INFINITY
  #longestWait = 0

  constructor(world: World, machine: Machine, layer: number, isSeed: boolean) {
    const chunks = chunksOf(world.scenario, layer)
    this.world = world
    this.machine = machine
    this.layer = layer
    this.held = isSeed ? Bitfield.full(chunks) : new Bitfield(chunks)
    this.session = new Session({ held: this.held, random: world.random, pace: machine.pace, now: world.now })
    const { peers } = this.session
    this.announcer = new Announcer({ blob: String(layer), held: this.held, peers, offers: machine.offers })
    if (isSeed && machine.kind === 'honest') this.session.verifiable = chunks
    this.claimant = new Claimant(this)
  }

  get id(): string {
    return this.machine.id
  }

  get isActive(): boolean {
    return this.machine.isAlive
  }

  /** The longest time that its client, which reads in order, had to wait for the next chunk, in ms. */
  get longestWait(): number {
    return this.held.isFull ? this.#longestWait : Math.max(this.#longestWait, this.world.now - this.#frontAt)
  }

  start(): void {
    this.#frontAt = this.world.now
    this.claimant.start()
  }

  /** Watches what another node holds, and is watched by it, as far as each has room; everybody tells all who ask. */
  connect(other: Fetch, isHolder = false): void {
    if (other === this || this.connected.has(other.id) || this.machine.banned.has(other.id)) return
    if (!this.isActive || !other.isActive || other.machine.banned.has(this.id)) return
    if (this.held.isFull && other.held.isFull) return
    this.#watch(other, isHolder)
    if (this.connected.has(other.id)) other.#watch(this, false)
  }

  /** Who watches is watched, where there is room. */
  #watch(other: Fetch, isHolder: boolean): void {
    if (this.connected.has(other.id)) return
    if (this.connected.size >= (isHolder ? 2 * MAX_PEERS : MAX_PEERS)) return
    this.connected.set(other.id, other)
    other.watchers.set(this.id, this)
    this.#introduce(other)
  }

  /** A peer is gone, or banned. */
  disconnect(other: Fetch): void {
    const wasKnown = this.connected.delete(other.id)
    if (!this.watchers.delete(other.id) && !wasKnown) return
    this.session.peers.leave(other.id)
    this.announcer.leave(other.id)
    this.tell()
    this.plan()
  }

  /** The node vanished. */
  stop(): void {
    this.claimant.stop()
    for (const transfer of this.#transfers.values()) transfer.stop()
    this.#transfers.clear()
  }

  /** Others find out that this node has vanished. */
  missed(): void {
    for (const other of new Set([...this.connected.values(), ...this.watchers.values()])) {
      for (const transfer of [...other.#transfers.values()]) if (transfer.server === this) transfer.fail()
      other.disconnect(this)
    }
  }

  /** A right chunk came. @returns whether it was of use */
  got(chunk: number, from?: string): boolean {
    if (!this.held.set(chunk)) return false
    this.announcer.got(chunk, from)
    this.tell()
    if (chunk === this.#front) this.#advance()
    if (this.held.isFull) {
      this.machine.completed(this.world.now)
      this.claimant.done()
    }
    return true
  }

  #advance(): void {
    this.#longestWait = Math.max(this.#longestWait, this.world.now - this.#frontAt)
    this.#frontAt = this.world.now
    while (this.held.has(this.#front)) this.#front++
  }

  /** A peer has told more of its list; before that is complete, only who fetches from upstream is believed. */
  told(peer: string, verifiable: number): void {
    this.#lists.set(peer, Math.max(verifiable, this.#lists.get(peer) ?? 0))
    this.believe()
  }

  /** Follows the lists of those who are believed. */
  believe(): void {
    const { holder } = this.claimant
    for (const [peer, verifiable] of this.#lists)
      if (holder === undefined || peer === holder || verifiable === this.held.length) this.grow(verifiable)
  }

  /** The list of checkpoints has grown. */
  grow(verifiable: number): void {
    if (verifiable <= this.session.verifiable || this.machine.kind !== 'honest') return
    this.session.verifiable = verifiable
  }

  /** Tells peers what the announcer says, in a moment. */
  tell(ms = BATCH_MS): void {
    const at = this.world.now + ms
    if (at >= this.#tellAt) return
    this.#tellAt = at
    this.world.after(ms, () => {
      if (this.#tellAt !== at) return
      this.#tellAt = Number.POSITIVE_INFINITY
      this.#tellNow()
    })
  }

  plan(): void {
    const { world, session } = this
    const { slots } = this.machine
    if (!this.isActive || this.machine.kind !== 'honest') return
    if (world.now - this.#progressAt > PROGRESS_MS) this.#progress()
    world.counters.plans++
    const { start, cancel, wakeAt } = session.plan(world.now, slots.room)
    for (const request of start) {
      const peer = this.connected.get(request.peer)
      if (peer === undefined) throw new Error(`${this.id} asks ${request.peer}, which it does not know`)
      const transfer = new Transfer(this, peer, request)
      this.#transfers.set(request.id, transfer)
      slots.take()
      transfer.start()
    }
    if (slots.spare <= 0) slots.whenFree(this.#planLater)
    for (const id of cancel) this.#transfers.get(id)?.cancel()
    if (cancel.length > 0) this.plan()
    else if (wakeAt < this.#wakeAt || this.#wakeAt <= world.now) this.#wake(wakeAt)
  }

  forget(transfer: Transfer): void {
    if (this.#transfers.delete(transfer.request.id)) this.machine.slots.give()
  }

  #wake(at: number): void {
    this.#wakeAt = at
    if (at === Number.POSITIVE_INFINITY) return
    this.world.after(at - this.world.now, () => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.plan()
    })
  }

  #progress(): void {
    this.#progressAt = this.world.now
    for (const transfer of this.#transfers.values()) {
      if (transfer.isMoving) this.session.progress(transfer.request.id, this.world.now)
      transfer.count()
    }
  }

  #tellNow(): void {
    if (!this.isActive || this.machine.kind !== 'honest') return
    const { world, session } = this
    const { uploads } = this.machine
    const { tell, wakeAt } = this.announcer.plan(
      world.now,
      uploads.room(world.now),
      uploads.sendingOf(String(this.layer)),
    )
    if (wakeAt < Number.POSITIVE_INFINITY) this.tell(Math.max(wakeAt - world.now, BATCH_MS))
    const verifiable = session.verifiable
    const requests = this.machine.slots.room.running
    world.counters.haves += tell.length
    for (const { peer, chunks } of tell)
      world.after(world.latency, () => this.watchers.get(peer)?.hear(this, chunks, verifiable, requests))
  }

  hear(peer: Fetch, chunks: readonly number[], verifiable: number, requests: number): void {
    const { machine, session, announcer, world, layer } = this
    if (!this.isActive || !this.connected.has(peer.id)) return
    machine.offers.told(peer.id, requests)
    this.told(peer.id, verifiable)
    for (const chunk of chunks) {
      session.peers.has(peer.id, chunk)
      if (machine.uploads.delivered(peer.id, String(layer), chunk, world.scenario.chunkBytes, world.now)) {
        announcer.served(peer.id, chunk, world.now)
        for (const fetch of machine.fetches) fetch.tell()
      } else if (announcer.heard(peer.id, chunk)) this.tell()
    }
    this.plan()
  }

  #introduce(other: Fetch): void {
    const { world } = this
    const honest = other.machine.kind === 'honest'
    world.after(world.latency, () => {
      if (!other.watchers.has(this.id)) return
      const shown = honest ? other.announcer.introduce(this.id) : Bitfield.full(this.held.length)
      const isSource = other.held.isFull || !honest
      const verifiable = honest ? other.session.verifiable : 0
      other.tell()
      world.after(world.latency, () => {
        if (!this.isActive || !this.connected.has(other.id)) return
        this.session.peers.join(other.id, shown, isSource)
        this.claimant.markHolder()
        this.told(other.id, verifiable)
        world.counters.haves++
        this.plan()
      })
    })
  }
}
