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
 * Stops reading from a peer that has nothing left of its allowance, until it has again; and from one that takes much while others do, until
 * its turn. What it sends meanwhile waits at its own end, by TCP. So a peer that works hard gets slower, and loses nothing; and no queue
 * grows here behind what was sent too fast.
 */
export class Brake {
  readonly #limits: Pick<PeerLimits, 'pauseMs' | 'mustWait' | 'wait'>
  readonly #peer: PeerId
  readonly #source: Source
  #isWaiting = false

  constructor(limits: Pick<PeerLimits, 'pauseMs' | 'mustWait' | 'wait'>, peer: PeerId, source: Source) {
    this.#limits = limits
    this.#peer = peer
    this.#source = source
  }

  /** To be called when something was read and charged for. */
  check(): void {
    if (this.#isWaiting || !this.#source.isOpen()) return
    const ms = this.#limits.pauseMs(this.#peer)
    if (ms === 0 && !this.#limits.mustWait(this.#peer)) return
    this.#isWaiting = true
    this.#source.pause()
    if (ms > 0) setTimeout(this.#go, ms).unref()
    else this.#limits.wait(this.#peer, this.#go)
  }

  readonly #go = () => {
    // A connection of libp2p that is paused within the call goes on reading, so it is looked at after it.
    this.#resume()
    this.#isWaiting = false
    this.check()
  }

  #resume(): void {
    try {
      if (this.#source.isOpen()) this.#source.resume()
    } catch {
      // libp2p throws where the connection below has ended, before it says so.
    }
  }
}
