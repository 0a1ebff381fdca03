import type { PeerId } from '../peer-id.ts'
import type { PeerLimits } from './peer-limits.ts'

/** What a peer is read from. */
interface Source {
  /** Nothing more is to be read until `resume`. */
  pause(): void
  /** Reads on; what waited may come within the call. */
  resume(): void
  /** Whether it can still be paused and resumed. */
  isOpen(): boolean
}

/**
 * Stops reading from a peer that has nothing left of its allowance, until it has again. What it sends meanwhile waits at its own end, by
 * TCP. So a peer that works hard gets slower, and loses nothing; and no queue grows here behind what was sent too fast.
 */
export class Brake {
  readonly #limits: Pick<PeerLimits, 'pauseMs'>
  readonly #peer: PeerId
  readonly #source: Source
  #isWaiting = false

  constructor(limits: Pick<PeerLimits, 'pauseMs'>, peer: PeerId, source: Source) {
    this.#limits = limits
    this.#peer = peer
    this.#source = source
  }

  /** To be called when something was read and charged for. */
  check(): void {
    const ms = this.#isWaiting ? 0 : this.#limits.pauseMs(this.#peer)
    if (ms === 0 || !this.#source.isOpen()) return
    this.#isWaiting = true
    this.#source.pause()
    setTimeout(() => {
      // A connection of libp2p that is paused within the call goes on reading, so it is looked at after it.
      this.#resume()
      this.#isWaiting = false
      this.check()
    }, ms).unref()
  }

  #resume(): void {
    try {
      if (this.#source.isOpen()) this.#source.resume()
    } catch {
      // libp2p throws where the connection below has ended, before it says so.
    }
  }
}
