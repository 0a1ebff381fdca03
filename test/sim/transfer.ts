import { DELIVERY_LIMIT_MS } from '../../daemon/swarm/have/constants.ts'
import type { ChunkRequest, RequestEnd } from '../../daemon/swarm/session/session.ts'
import type { Fetch } from './fetch.ts'
import type { Flow } from './network.ts'

/** A run of chunks from one node to another. */
export class Transfer {
  readonly client: Fetch
  readonly server: Fetch
  readonly request: ChunkRequest
  #flow: Flow | undefined
  #isOver = false
  #isAdmitted = false
  #forget: () => void = () => {}
  /** The chunk that is being sent. */
  #at: number
  /** Bytes that the node's pace was told of. */
  #counted = 0

  constructor(client: Fetch, server: Fetch, request: ChunkRequest) {
    this.client = client
    this.server = server
    this.request = request
    this.#at = request.first
  }

  get isMoving(): boolean {
    return this.#flow !== undefined && this.#flow.rate > 0
  }

  start(): void {
    const { world } = this.client
    world.counters.requests++
    world.after(world.latency, () => this.#answer())
  }

  /** Given up by the client. */
  cancel(): void {
    this.stop()
    this.#end('cancelled')
  }

  /** The connection broke. */
  fail(): void {
    this.stop()
    this.#end('failed')
  }

  /** Tells the node's pace how much has come since the last time. */
  count(): void {
    const { world, machine } = this.client
    const flow = this.#flow
    if (flow === undefined) return
    if (!flow.isOver) flow.settle(world.now)
    if (flow.moved > this.#counted)
      machine.pace.received(flow.moved - this.#counted, world.now, machine.slots.room.running)
    this.#counted = flow.moved
  }

  stop(): void {
    const { world } = this.client
    const flow = this.#flow
    this.#release()
    if (flow === undefined || flow.isOver) return
    world.network.stop(flow, world.now)
    world.counters.duplicateBytes += world.scenario.chunkBytes - flow.left
  }

  #answer(): void {
    const { client, server, request } = this
    const { world } = client
    if (this.#isOver || !client.isActive) return
    if (!server.isActive) {
      if (!world.scenario.isSilent) this.#reply('failed')
      return
    }
    if (server.machine.kind === 'staller') return
    if (!this.#canSend(request.first)) this.#reply('absent')
    else if (server.machine.admit(client.id)) this.#send()
    else {
      world.counters.busy++
      this.#reply('busy')
    }
  }

  #send(): void {
    const { client, server, request } = this
    const { world } = client
    this.#isAdmitted = true
    const last = request.first + request.count - 1
    for (let chunk = request.first; chunk <= last; chunk++)
      server.machine.offers.asked(client.id, String(server.layer), chunk, world.now)
    this.#forget = server.machine.uploads.begin(client.id, String(server.layer), request.first, last)
    const { chunkBytes } = world.scenario
    this.#flow = world.network.start(server.machine.up, client.machine.down, chunkBytes, world.now, () => this.#sent())
  }

  #canSend(chunk: number): boolean {
    return this.server.machine.kind === 'liar' || this.server.held.has(chunk)
  }

  /** A chunk has left the server. */
  #sent(): number | undefined {
    const { world } = this.client
    const chunk = this.#at++
    world.after(world.latency, () => this.#arrived(chunk))
    const { first, count } = this.request
    if (this.#at < first + count && this.#canSend(this.#at)) return world.scenario.chunkBytes
    this.#release()
    world.after(world.latency, () => this.#end(this.#at < first + count ? 'absent' : 'done'))
    return undefined
  }

  #arrived(chunk: number): void {
    const { client, server, request } = this
    const { world } = client
    if (!client.isActive) return
    this.count()
    const { chunkBytes } = world.scenario
    if (server.machine.kind === 'liar') {
      world.counters.wrongChunks++
      const lies = world.counters.liarChunks
      const key = `${client.id}/${client.layer}`
      lies.set(key, (lies.get(key) ?? 0) + 1)
      client.machine.banned.add(server.id)
      this.fail()
      server.disconnect(client)
      client.disconnect(server)
      return
    }
    if (!client.got(chunk, server.id)) world.counters.duplicateBytes += chunkBytes
    client.session.arrived(request.id, chunkBytes, world.now)
    // The end of the request plans as well, at the same moment.
    if (this.#at > chunk + 1 || !this.#flow?.isOver) client.plan()
  }

  #reply(end: RequestEnd): void {
    const { world } = this.client
    world.after(world.latency, () => this.#end(end))
  }

  #end(end: RequestEnd): void {
    if (this.#isOver) return
    this.#isOver = true
    this.client.forget(this)
    this.client.session.ended(this.request.id, end, this.client.world.now)
    if (end !== 'cancelled') this.client.plan()
  }

  #release(): void {
    if (!this.#isAdmitted) return
    this.#isAdmitted = false
    this.server.machine.release(this.client.id)
    // What was cut off is over; for the rest the client tells, if it is heard.
    const isHeard = this.server.connected.has(this.client.id)
    if (this.#at < this.request.first + this.request.count || !isHeard) this.#over()
    else this.server.world.after(DELIVERY_LIMIT_MS, () => this.#over())
  }

  #over(): void {
    this.#forget()
    for (const fetch of this.server.machine.fetches) fetch.tell()
  }
}
