import type { Message, PeerId, Turn } from '../../daemon/share/plan/messages.ts'
import { Plan } from '../../daemon/share/plan/plan.ts'
import type { Effect, Event } from '../../daemon/share/plan/steps.ts'
import { Clients } from './clients.ts'
import { type Flow, Line } from './network.ts'
import { bytesPerMs, CHUNK_BYTES } from './scenario.ts'
import { sizeOf } from './sizes.ts'
import type { Site, World } from './world.ts'

/** What is sent to a peer. */
interface Serve {
  readonly to: Machine
  readonly id: number
  readonly blob: string
  readonly chunk: number
  /** The next part. */
  quarter: number
  flow: Flow | undefined
  /** It is not held here yet. */
  isWaiting: boolean
  isOver: boolean
}

/** What is read from upstream. */
interface Read {
  chunk: number
  quarter: number
  flow: Flow | undefined
  isOver: boolean
}

/** Until others notice that a peer has left, in ms: its system resets its connections, or nothing answers any more. */
const RESET_MS = 20
const SILENT_MS = 10_000

/** From this part of its uplink on, messages of a machine wait behind its bulk. */
const BUSY_PART = 0.8

/** One node: the product's plan, and simulated I/O around it. */
export class Machine {
  readonly id: PeerId
  readonly rate: number
  readonly up: Line
  readonly down: Line
  readonly site: Site
  readonly clients: Clients
  startedAt = 0
  doneAt: number | undefined
  isAlive = true
  readonly #world: World
  readonly #plan: Plan
  readonly #serves = new Map<PeerId, Serve>()
  readonly #reads = new Map<string, Read>()
  /** When the last message to each peer arrives there: they stay in order. Peers that are not in it are not connected. */
  readonly #lastTo = new Map<PeerId, number>()
  readonly #sized = new Set<string>()
  /** Whether it tells the coordinator nothing. */
  #isSilent = false
  readonly #lastIn = new Map<PeerId, number>()
  readonly #lastOut = new Map<PeerId, number>()
  #wakeAt = Number.POSITIVE_INFINITY

  constructor(world: World, id: PeerId, rate: number, site: Site) {
    const { scenario, random } = world
    this.#world = world
    this.id = id
    this.rate = rate
    this.up = new Line(bytesPerMs(rate))
    this.down = new Line(bytesPerMs(rate === scenario.rate ? (scenario.downRate ?? rate) : rate))
    this.site = site
    this.clients = new Clients(scenario.blobs)
    const isFar = (peer: PeerId) => {
      const other = world.siteOf(peer)
      return other !== undefined && other !== world.siteOf(id)
    }
    this.#plan = new Plan({
      numbers: scenario.numbers,
      random,
      lastByteAt: (...which) => this.#lastByteAt(...which),
      isFar: scenario.sites > 1 && scenario.areSitesKnown ? isFar : undefined,
      isOpen: scenario.isOpen,
    })
  }

  /** Its clients ask for everything at once. */
  start(holdsAll: boolean): void {
    const { now, scenario } = this.#world
    this.startedAt = now
    if (holdsAll) this.doneAt = now
    this.#isSilent = holdsAll && scenario.isRecorded
    const isWanted = !holdsAll && scenario.ahead === 0
    const blobs = scenario.blobs.map((size, index) => {
      const held = holdsAll ? Array.from({ length: size }, (_, chunk) => chunk) : []
      const isSized = holdsAll || !scenario.isUnsized
      if (isSized) this.#sized.add(String(index))
      return { blob: String(index), chunks: isSized ? size : undefined, held, isWanted }
    })
    this.clients.start(now)
    this.#step({ kind: 'blobs', blobs })
    if (scenario.ahead === 0) return
    this.#world.after(scenario.ahead, () => {
      this.#step(blobs.map(({ blob }) => ({ kind: 'wanted', blob })))
    })
  }

  turns(turns: readonly Turn[]): void {
    this.#step(turns.map((turn) => ({ kind: 'turn', turn })))
  }

  hear(from: PeerId, message: Message): void {
    // Whoever has a part of a blob knows its size, and says it.
    if ('news' in message) for (const { blob, log } of message.news.blobs) if (log.length > 0) this.#size(blob)
    this.#step({ kind: 'message', from, message })
  }

  #size(blob: string): void {
    if (this.#sized.has(blob)) return
    this.#sized.add(blob)
    this.#step({ kind: 'sized', blob, chunks: this.#world.scenario.blobs[Number(blob)] ?? 0, held: [] })
  }

  /** Sends a message that waits behind bulk, and keeps its place among those to the same peer. */
  send(to: PeerId, message: Message): void {
    const world = this.#world
    const { latency } = world.scenario
    this.#countMessage(to, message)
    const last = this.#lastTo.get(to)
    // A new connection takes a round trip first.
    const opening = last === undefined ? 2 * latency : 0
    const at = Math.max(last ?? 0, world.now + opening + latency + this.#waits())
    this.#lastTo.set(to, at)
    world.after(at - world.now, () => {
      if (this.isAlive) world.peers.get(to)?.hear(this.id, message)
    })
  }

  /** It leaves for good. */
  leave(): void {
    if (!this.isAlive) return
    this.isAlive = false
    const world = this.#world
    for (const serve of this.#serves.values()) this.#over(serve)
    for (const blob of [...this.#reads.keys()]) this.#unread(blob)
    for (const other of world.machines.values()) other.#unreachable(this.id)
    world.after(world.scenario.isSilent ? SILENT_MS : RESET_MS, () => {
      world.coordinator?.left(this.id)
      for (const other of world.machines.values())
        if (other.#lastTo.has(this.id)) other.#step({ kind: 'left', peer: this.id })
    })
  }

  #step(events: Event | readonly Event[]): void {
    if (!this.isAlive) return
    const { now } = this.#world
    for (const effect of this.#plan.step(events, now)) this.#do(effect)
    const at = this.#plan.wakeAt
    if (at >= this.#wakeAt) return
    this.#wakeAt = at
    this.#world.after(Math.max(0, at - now), () => {
      if (this.#wakeAt !== at) return
      this.#wakeAt = Number.POSITIVE_INFINITY
      this.#step({ kind: 'wake' })
    })
  }

  #do(effect: Effect): void {
    const world = this.#world
    switch (effect.kind) {
      case 'send':
        this.send(effect.to, effect.message)
        break
      case 'serve': {
        const to = world.machines.get(effect.to)
        if (to === undefined) break
        const { id, blob, chunk, quarter } = effect
        const serve: Serve = { to, id, blob, chunk, quarter, flow: undefined, isWaiting: false, isOver: false }
        this.#serves.set(to.id, serve)
        this.#lastOut.set(to.id, world.now)
        world.after(world.scenario.request, () => this.#pump(serve))
        break
      }
      case 'stop': {
        const serve = this.#serves.get(effect.to)
        if (serve?.id === effect.id) this.#over(serve)
        break
      }
      case 'read':
        this.#read(effect.blob, effect.chunk, effect.quarter)
        break
      case 'unread':
        this.#unread(effect.blob)
        break
      case 'want': {
        const { wants } = effect
        if (this.#isSilent) break
        world.counters.wants++
        world.after(world.scenario.latency + this.#waits(), () => {
          if (this.isAlive) world.coordinator?.wants(this.id, wants)
        })
        break
      }
    }
  }

  /** Sends what is held of a chunk; the rest when it is there. */
  #pump(serve: Serve): void {
    const { to, blob, chunk, quarter, isOver } = serve
    if (isOver || serve.flow !== undefined || !to.isAlive) return
    serve.isWaiting = this.#plan.partsOf(blob, chunk) <= quarter
    if (serve.isWaiting) return
    const { network, now } = this.#world
    const lines = [this.up, to.down, ...this.#world.between(this.site, to.site)]
    serve.flow = network.start(lines, this.#quarterBytes, now, () => this.#sent(serve))
  }

  /** A part has left. @returns bytes of the next one, if it is held */
  #sent(serve: Serve): number | undefined {
    const { to, id, blob, chunk, quarter } = serve
    const world = this.#world
    if (to.site !== this.site) world.counters.betweenBytes += this.#quarterBytes
    world.after(world.scenario.latency, () => to.#arrived(this.id, id, blob, chunk, quarter))
    this.#lastOut.set(to.id, world.now)
    serve.quarter++
    const { numbers } = world.scenario
    if (serve.quarter < numbers.quarters && this.#plan.partsOf(blob, chunk) > serve.quarter) return this.#quarterBytes
    serve.flow = undefined
    if (serve.quarter < numbers.quarters) serve.isWaiting = true
    else {
      serve.isOver = true
      this.#serves.delete(to.id)
      this.#step({ kind: 'sent', to: to.id, id })
    }
    return undefined
  }

  /** Bytes are here; they count when they are verified. */
  #arrived(from: PeerId, id: number, blob: string, chunk: number, quarter: number): void {
    const { scenario, now, counters, listedAt } = this.#world
    this.#lastIn.set(from, now)
    const listed = listedAt.get(blob)?.[chunk * scenario.numbers.quarters + quarter] ?? 0
    const verified = Math.max(now, listed) + scenario.verify / scenario.numbers.quarters
    this.#world.after(verified - now, () => {
      const before = this.#plan.partsOf(blob, chunk)
      this.#step({ kind: 'quarter', from, id, quarter })
      if (this.#plan.partsOf(blob, chunk) > before) this.#holds(blob, chunk)
      else counters.twiceBytes += this.#quarterBytes
    })
  }

  /** A part is held: whoever waits for it gets it, and so do clients. */
  #holds(blob: string, chunk: number): void {
    for (const serve of this.#serves.values())
      if (serve.isWaiting && serve.blob === blob && serve.chunk === chunk) this.#pump(serve)
    if (this.#plan.partsOf(blob, chunk) < this.#world.scenario.numbers.quarters) return
    if (this.clients.got(Number(blob), chunk, this.#world.now)) this.doneAt ??= this.#world.now
  }

  #read(blob: string, chunk: number, quarter: number): void {
    const open = this.#reads.get(blob)
    // The stream goes on with the next chunk.
    if (open !== undefined && !open.isOver && open.chunk + 1 === chunk && quarter === 0) {
      open.chunk = chunk
      open.quarter = 0
      return
    }
    this.#unread(blob)
    const read: Read = { chunk, quarter, flow: undefined, isOver: false }
    this.#reads.set(blob, read)
    const { network, upstream, scenario } = this.#world
    this.#world.after(scenario.upstreamDelay, () => {
      if (read.isOver) return
      this.#size(blob)
      const lines = [upstream, this.down, ...this.#world.between(this.#upstreamSite, this.site)]
      read.flow = network.start(lines, this.#quarterBytes, this.#world.now, () => this.#came(blob, read))
    })
  }

  /** A part came from upstream. @returns bytes of the next one, if it is wanted */
  #came(blob: string, read: Read): number | undefined {
    const world = this.#world
    const { scenario, listedAt } = world
    const { chunk, quarter } = read
    const { quarters } = scenario.numbers
    this.#countUpstream(this.#quarterBytes)
    const listed = listedAt.get(blob)
    if (listed !== undefined && listed[chunk * quarters + quarter] === 0)
      listed[chunk * quarters + quarter] =
        (Math.floor(world.now / scenario.lists) + 1) * scenario.lists + scenario.latency
    read.quarter++
    const isLast = quarter === quarters - 1
    this.#step({ kind: 'read', blob, chunk, quarter })
    if (this.#plan.partsOf(blob, chunk) > quarter) this.#holds(blob, chunk)
    if (isLast) world.onBrought(this)
    if (read.isOver) return undefined
    if (!isLast || read.chunk !== chunk) return this.#quarterBytes
    read.isOver = true
    this.#reads.delete(blob)
    return undefined
  }

  #unread(blob: string): void {
    const read = this.#reads.get(blob)
    this.#reads.delete(blob)
    if (read === undefined) return
    read.isOver = true
    const { network, now } = this.#world
    if (read.flow === undefined || read.flow.isOver) return
    const left = network.stop(read.flow, now)
    // A part that is complete was counted as it came.
    if (left > 0) this.#countUpstream(this.#quarterBytes - left)
  }

  get #upstreamSite(): Site | undefined {
    const { sites, scenario } = this.#world
    return scenario.upstreamSite === undefined ? undefined : sites[scenario.upstreamSite]
  }

  #countUpstream(bytes: number): void {
    const { counters } = this.#world
    counters.upstreamBytes += bytes
    if (this.#upstreamSite !== undefined && this.#upstreamSite !== this.site) counters.betweenBytes += bytes
  }

  #over(serve: Serve): void {
    serve.isOver = true
    if (this.#serves.get(serve.to.id) === serve) this.#serves.delete(serve.to.id)
    const { network, now, counters } = this.#world
    if (serve.flow !== undefined && !serve.flow.isOver) {
      const sent = this.#quarterBytes - network.stop(serve.flow, now)
      counters.twiceBytes += sent
      if (serve.to.site !== this.site) counters.betweenBytes += sent
    }
    serve.flow = undefined
  }

  /** Nothing gets to a peer that has left; that it has left is noticed later. */
  #unreachable(peer: PeerId): void {
    const serve = this.#serves.get(peer)
    if (serve?.flow === undefined) return
    this.#world.network.stop(serve.flow, this.#world.now)
    serve.flow = undefined
  }

  #lastByteAt(peer: PeerId, direction: 'in' | 'out'): number {
    const { now, machines, scenario } = this.#world
    const from = direction === 'out' ? this : machines.get(peer)
    const serve = from === undefined ? undefined : from.#serves.get(direction === 'out' ? peer : this.id)
    const isMoving = serve?.flow !== undefined && serve.flow.rate > 0
    if (direction === 'out' && serve?.isWaiting === true) return now
    if (isMoving) return now - scenario.latency
    return (direction === 'in' ? this.#lastIn : this.#lastOut).get(peer) ?? Number.NEGATIVE_INFINITY
  }

  /** How long a message waits behind bulk, in ms. */
  #waits(): number {
    const { scenario, random } = this.#world
    if (scenario.queue === 0 || this.up.used < BUSY_PART * this.up.capacity) return 0
    return random() * scenario.queue
  }

  get #quarterBytes(): number {
    return CHUNK_BYTES / this.#world.scenario.numbers.quarters
  }

  #countMessage(to: PeerId, message: Message): void {
    const { counters, machines } = this.#world
    const size = sizeOf(message)
    counters.controlBytes += size
    const site = machines.get(to)?.site
    if (site !== undefined && site !== this.site) counters.betweenBytes += size
    if (message.kind === 'news' || message.kind === 'bye') counters.news++
    else if (message.kind === 'ask') counters.asks++
    else if (message.kind === 'busy') counters.busy++
    else if (message.kind === 'none') counters.none++
    else if (message.kind === 'leave' || message.kind === 'cut') counters.left++
  }
}
