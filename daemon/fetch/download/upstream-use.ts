import type { ClaimAnswer } from '../../swarm/claim/book.ts'
import { Claiming } from './claiming.ts'
import { HELP_CHUNKS } from './constants.ts'
import type { Attempt, AttemptOptions } from './context.ts'
import { Patience } from './patience.ts'
import { fetchRange, inTurn, isSmall, urgentChunks } from './ranges.ts'
import type { Reading } from './reader.ts'
import { Rescue } from './rescue.ts'
import { SlowPeers } from './slow-peers.ts'
import type { Swarming } from './swarming.ts'
import { UpstreamFill } from './upstream-fill.ts'
import { UpstreamPace } from './upstream-pace.ts'

interface UpstreamUseOptions extends Pick<AttemptOptions, 'readings'> {
  readonly attempt: Attempt
  readonly swarming: Swarming
  /** One of its own by default; tests give one with another clock. */
  readonly patience?: Patience
}

/**
 * When one attempt asks upstream, and what for: what nobody has, where this node has the claim; more, where peers are slower than
 * upstream, or give nothing; and what clients wait for that read a range.
 */
export class UpstreamUse {
  readonly #attempt: Attempt
  readonly #swarming: Swarming
  readonly #readings: AttemptOptions['readings']
  readonly #claiming: Claiming
  readonly #fill: UpstreamFill
  readonly #slowPeers = new SlowPeers()
  readonly #patience: Patience
  readonly #rescue: Rescue
  readonly #pace = new UpstreamPace()
  /** Chunks that this node has brought to the swarm: by them its claim is renewed. */
  #brought = 0
  /** Whose chunks the last turn fetched. */
  #served: Reading | undefined

  constructor({ attempt, swarming, readings, patience }: UpstreamUseOptions) {
    this.#attempt = attempt
    this.#swarming = swarming
    this.#readings = readings
    this.#fill = new UpstreamFill({ attempt, onChunk: (chunk, isProgress) => this.#held(chunk, isProgress) })
    this.#patience = patience ?? new Patience({ pace: attempt.tools.pace })
    this.#rescue = new Rescue({
      attempt,
      patience: this.#patience,
      peers: () => swarming.session?.peers.size ?? 0,
      isUseful: () => !this.#fill.hasFailed && this.#fill.isNeeded(() => false),
      isFetching: () => this.#fill.isReading('turn'),
      onEnd: () => this.#fill.endTurn(),
    })
    const { swarm } = attempt.tools
    this.#claiming = new Claiming({
      ask: (wish, held, signal) => swarm.claim(attempt.request.digest, { wish, held }, signal),
      held: () => this.#brought,
      needsUpstream: () => !this.#fill.hasFailed && attempt.assembly?.proven === undefined && this.#isNeeded,
      hasPeers: () => swarming.size > 0,
      isStarved: () => swarming.isRefused || this.#slowPeers.areSlow || this.#patience.isOver,
      onAnswer: (answer) => this.#answered(answer),
      onRole: () => {
        // Also where another one has the claim now, and this one may fetch one chunk.
        const { role } = this.#claiming
        if (role !== 'holder') this.#fill.stopClaim(role === 'racer')
        attempt.changed.notify()
      },
    })
  }

  /** Why upstream could not give the blob, if so. */
  get error(): unknown {
    return this.#fill.error
  }

  get hasFailed(): boolean {
    return this.#fill.hasFailed
  }

  /** Whether upstream does not give the blob to who asks for it. */
  get isRefused(): boolean {
    return this.#fill.isRefused
  }

  get isRunning(): boolean {
    return this.#fill.isRunning
  }

  /** Whether peers have given nothing for so long that nothing is expected of them any more, even where nobody else can give it. */
  get isHopeless(): boolean {
    return this.#patience.isHopeless(this.#swarming.bytes)
  }

  /** Takes part in who fetches the blob, until the attempt ends. */
  async run(): Promise<void> {
    await this.#claiming.run(this.#attempt.signal)
  }

  /** Tells the coordinator how it ended. */
  async end(wish: 'done' | 'nothing', signal: AbortSignal): Promise<void> {
    await this.#claiming.end(wish, signal)
  }

  /** A peer has sent a chunk. */
  gotFromPeer(): void {
    this.#patience.held(this.#swarming.bytes, true)
  }

  /** To be called often: how peers do. */
  look(): void {
    const { assembly, tools } = this.#attempt
    const { bytes, size: peers } = this.#swarming
    if (assembly !== undefined) {
      this.#fill.settle(assembly)
      // Before the list is complete, it is upstream that sets the pace.
      this.#slowPeers.measure(performance.now(), {
        isWaiting: assembly.isListComplete && assembly.proven === undefined && !this.#swarming.isStarved,
        fromPeers: bytes,
        pace: tools.pace,
        fromUpstream: this.#fill.bytes,
        upstreamMs: this.#pace.chunkMs,
      })
    }
    // Where upstream has failed, nothing is gained by waiting until it is one's turn there.
    this.#rescue.look({ bytes, peers, upstreamMs: this.#fill.hasFailed ? 0 : this.#pace.chunkMs })
  }

  /**
   * Asks upstream for what is to be asked, and tells peers' session what clients wait for.
   * @param isOpen whether peers may still be found who have it
   */
  fetch(isOpen: boolean): void {
    const { assembly } = this.#attempt
    const { session } = this.#swarming
    // Also where upstream is not asked: it is all the more for peers then.
    if (session !== undefined && assembly !== undefined) session.urgent = urgentChunks(this.#readings, assembly)
    if ((isOpen && !this.#patience.isOver) || this.#fill.hasFailed) return
    const { role } = this.#claiming
    for (const reading of this.#readings) {
      if (isSmall(reading)) this.#fetchRange(reading, 'small')
      else if (role !== 'none') this.#fetchRange(reading, 'range', role === 'holder' ? undefined : 1)
    }
    if (this.#rescue.isGranted && this.#takeTurn()) this.#rescue.used()
    if (role === 'none') return
    const isHolder = role === 'holder'
    this.#fill.fill('claim', (chunk) => this.#expects(chunk), isHolder ? undefined : 1)
    if (this.#slowPeers.areSlow && assembly !== undefined) this.#fill.help(assembly, isHolder ? HELP_CHUNKS : 1)
  }

  /** @returns whether it has made the request of this turn */
  #takeTurn(): boolean {
    const { chunks } = this.#patience
    const serve = (reading: Reading | undefined) => {
      if (reading === undefined) return this.#fill.fill('turn', () => false, chunks)
      return !isSmall(reading) && this.#fetchRange(reading, 'turn', chunks)
    }
    for (const reading of inTurn(this.#readings, this.#served)) {
      if (!serve(reading)) continue
      this.#served = reading
      return true
    }
    // The blob is to be had though nobody reads all of it.
    return serve(undefined)
  }

  #fetchRange(reading: Reading, kind: 'range' | 'small' | 'turn', limit = Number.POSITIVE_INFINITY): boolean {
    const { assembly } = this.#attempt
    if (assembly === undefined) return false
    // Who reads a range is not to wait until it is offered.
    const expects = (chunk: number) => !this.#patience.isOver && this.#isOffered(chunk)
    return fetchRange(reading, { assembly, upstream: this.#fill, expects, right: { kind, limit } })
  }

  #answered({ members, holder, brought = 0 }: ClaimAnswer): void {
    const other = holder === this.#attempt.tools.self() ? undefined : holder
    this.#pace.saw(other, brought, performance.now())
    this.#swarming.meetSome(members)
    this.#swarming.holder = holder
  }

  #held(chunk: number, isProgress: boolean): void {
    if (isProgress) this.#brought++
    this.#patience.held(this.#swarming.bytes, false)
    this.#attempt.held(chunk)
    if (this.#claiming.role === 'racer') this.#claiming.poke()
  }

  /** Whether a chunk can be expected from peers: one has it, or who has the claim has brought it. */
  #expects(chunk: number): boolean {
    return this.#pace.hasBrought(chunk, performance.now()) || this.#isOffered(chunk)
  }

  #isOffered(chunk: number): boolean {
    return this.#swarming.session?.expects(chunk) ?? false
  }

  get #isNeeded(): boolean {
    return this.#fill.isNeeded((chunk) => this.#expects(chunk)) || this.#fill.isRunning || this.#slowPeers.areSlow
  }
}
