import { WANTED_PEERS } from '../../daemon/fetch/download/constants.ts'
import type { ClaimAnswer, ClaimWish } from '../../daemon/swarm/claim/book.ts'
import { COMPLETE_MS, FOLLOW_MS, RENEW_MS, STARVED_MS } from '../../daemon/swarm/claim/constants.ts'
import type { Fetch } from './fetch.ts'
import type { Flow } from './network.ts'
import { inTurn } from './scenario.ts'

/** Asks the coordinator, and fetches from upstream where it may. */
export class Claimant {
  readonly #fetch: Fetch
  #role: ClaimAnswer['role'] = 'none'
  #holder: string | undefined
  /** Chunks that the holder has brought, where it is another one. */
  #brought = 0
  #askedAt = 0
  /** Answers to questions before this one are out of date. */
  #question = 0
  #stream: Flow | undefined
  #isStreaming = false
  /** Streams before this one are out of date. */
  #streams = 0
  /** Chunks that came from upstream. */
  #fetched = 0

  constructor(fetch: Fetch) {
    this.#fetch = fetch
  }

  start(): void {
    const { machine } = this.#fetch
    if (machine.kind !== 'honest') this.#ask('nothing')
    else this.#ask(this.#fetch.held.isFull ? 'done' : 'if-nobody')
  }

  done(): void {
    this.stop()
    this.#ask('done')
  }

  /** Who holds the claim. */
  get holder(): string | undefined {
    return this.#holder
  }

  /** Tells the session who holds the claim. */
  markHolder(): void {
    this.#fetch.session.peers.setHolder(this.#holder)
    this.#fetch.believe()
  }

  #ask(wish: ClaimWish): void {
    const { world, layer, id } = this.#fetch
    const question = ++this.#question
    this.#askedAt = world.now
    world.counters.claims++
    const held = this.#fetched
    world.after(world.latency, () => {
      if (!this.#fetch.isActive) return
      const answer = world.book.ask(`layer ${layer}`, id, { wish, held }, world.now)
      world.after(world.latency, () => {
        if (this.#fetch.isActive && question === this.#question) this.#answered(answer)
      })
    })
  }

  #answered({ role, holder, members, brought = 0 }: ClaimAnswer): void {
    const fetch = this.#fetch
    this.#holder = holder
    this.#brought = holder === fetch.id ? 0 : brought
    this.markHolder()
    for (const member of members) {
      const other = fetch.world.find(member, fetch.layer)
      const isHolder = member === holder
      if (other !== undefined && (isHolder || fetch.connected.size < WANTED_PEERS)) fetch.connect(other, isHolder)
    }
    this.#role = role
    if (role === 'none') this.stop()
    else this.#stretch()
    const ms = role === 'none' ? STARVED_MS : RENEW_MS
    const question = this.#question
    fetch.world.after(ms, () => this.#again(question))
  }

  #again(question: number): void {
    const { world, held, session, machine, isActive } = this.#fetch
    if (question !== this.#question || !isActive) return
    const since = world.now - this.#askedAt
    if (machine.kind !== 'honest') this.#askIf(since >= FOLLOW_MS, 'nothing', question)
    else if (held.isFull) this.#askIf(since >= COMPLETE_MS / 2, 'done', question)
    else if (this.#role !== 'none') this.#ask('claim')
    else if (session.isStarved && session.isQuiet(world.now, machine.slots.isIdle)) this.#ask('starved')
    else this.#askIf(since >= FOLLOW_MS, 'nothing', question)
  }

  /** Asks, or looks again later. */
  #askIf(isTime: boolean, wish: ClaimWish, question: number): void {
    if (isTime) this.#ask(wish)
    else this.#fetch.world.after(STARVED_MS, () => this.#again(question))
  }

  /** Begins to fetch from upstream, if that has not begun yet. */
  #stretch(): void {
    const { world } = this.#fetch
    if (this.#isStreaming || world.scenario.upstream === 0) return
    const first = this.#next()
    if (first === undefined) return
    this.#isStreaming = true
    const question = ++this.#streams
    world.after(world.scenario.upstreamDelay, () => this.#open(question))
  }

  /** The first chunk that is not held, that no peer has, and that the holder has not brought. */
  #next(from = 0): number | undefined {
    const { held, session } = this.#fetch
    for (let chunk = held.firstMissing(from); chunk < held.length; chunk = held.firstMissing(chunk + 1)) {
      if (chunk >= this.#brought && !session.expects(chunk)) return chunk
    }
    return undefined
  }

  #open(stream: number): void {
    const { world, machine, isActive, layer } = this.#fetch
    if (stream !== this.#streams || !this.#isStreaming || !isActive) return
    let chunk = this.#next()
    if (chunk === undefined) {
      this.#isStreaming = false
      return
    }
    const { chunkBytes } = world.scenario
    const onPiece = () => {
      world.counters.upstreamBytes += chunkBytes
      const done = chunk ?? 0
      this.#arrived(done)
      if (stream !== this.#streams || !this.#isStreaming) return undefined
      if (this.#role === 'racer') {
        this.#isStreaming = false
        this.#ask('claim')
        return undefined
      }
      const next = this.#next()
      if (next === done + 1) {
        chunk = next
        return chunkBytes
      }
      this.#isStreaming = false
      this.#stream = undefined
      if (next !== undefined) this.#stretch()
      return undefined
    }
    const share = inTurn(world.scenario.shares, layer)
    this.#stream = world.network.start(world.upstream, machine.down, chunkBytes, world.now, onPiece, share)
  }

  #arrived(chunk: number): void {
    const fetch = this.#fetch
    this.#fetched++
    fetch.got(chunk)
    if (chunk === fetch.session.verifiable) fetch.grow(chunk + 1)
    fetch.world.onUpstreamChunk(fetch)
    fetch.plan()
  }

  /** Fetches nothing more from upstream. */
  stop(): void {
    const { world } = this.#fetch
    this.#isStreaming = false
    this.#streams++
    const flow = this.#stream
    this.#stream = undefined
    if (flow === undefined || flow.isOver || flow.left === 0) return
    world.network.stop(flow, world.now)
    world.counters.upstreamBytes += world.scenario.chunkBytes - flow.left
  }
}
