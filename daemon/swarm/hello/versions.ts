import type { Logger } from 'pino'
import type { PeerId } from '../ports.ts'
import { HELLO_VERSION, MAX_LOGGED } from './constants.ts'

/** Compares versions, and logs each peer of another one once. */
export class Versions {
  readonly #log: Logger
  /** By peer: the version that was logged. The oldest first. */
  readonly #logged = new Map<PeerId, number>()

  constructor(log: Logger) {
    this.#log = log
  }

  /** Whether blobs can move between a peer of this version and this node. */
  match(peer: PeerId, version: number): boolean {
    if (version === HELLO_VERSION) return true
    if (this.#logged.get(peer) === version) return false
    this.#logged.delete(peer)
    this.#logged.set(peer, version)
    const [oldest] = this.#logged.keys()
    if (this.#logged.size > MAX_LOGGED && oldest !== undefined) this.#logged.delete(oldest)
    const older = version < HELLO_VERSION ? 'the peer' : 'this node'
    this.#log.warn(
      { peer, version, ownVersion: HELLO_VERSION },
      `a peer speaks version ${version} of the swarm's protocol, this node version ${HELLO_VERSION}: no blobs move between them until layerd is updated on ${older}`,
    )
    return false
  }
}
