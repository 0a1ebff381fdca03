import type { PeerId } from '../ports.ts'
import { CLOSEST_MS, CLOSEST_QUERY_MS, CLOSEST_VALID_MS, MAX_KEYS } from './constants.ts'

interface ClosestPeersOptions {
  /** Whether the swarm is larger than what this node sees of it. */
  readonly isLarge: () => boolean
  readonly admits: (peer: PeerId) => boolean
  /** The peers nearest to a key, connected or not, as the DHT finds them. */
  readonly query: (key: Uint8Array, signal: AbortSignal) => AsyncIterable<PeerId>
}

/**
 * Peers near a key beyond those that are connected: in a large swarm each node is connected with others, and all must find the
 * same coordinator. Remembered for a while, as coordinators are asked for again and again.
 */
export class ClosestPeers {
  readonly #options: ClosestPeersOptions
  /** By key, the one looked up the longest ago first. */
  readonly #found = new Map<string, { readonly peers: Promise<readonly PeerId[]>; readonly at: number }>()

  constructor(options: ClosestPeersOptions) {
    this.#options = options
  }

  /** None where the swarm is small, or the DHT takes longer than {@link CLOSEST_MS}: what it finds then is for the next time. */
  async near(key: Uint8Array): Promise<readonly PeerId[]> {
    if (!this.#options.isLarge()) return []
    const name = Buffer.from(key).toString('hex')
    const before = this.#found.get(name)
    const now = performance.now()
    const peers = before !== undefined && now - before.at < CLOSEST_VALID_MS ? before.peers : this.#look(name, key, now)
    const { promise: late, resolve } = Promise.withResolvers<readonly PeerId[]>()
    const timer = setTimeout(() => resolve([]), CLOSEST_MS)
    const near = await Promise.race([peers, late])
    clearTimeout(timer)
    return near.filter(this.#options.admits)
  }

  #look(name: string, key: Uint8Array, at: number): Promise<readonly PeerId[]> {
    const peers = this.#query(key).then((found) => {
      // The DHT failed: there are peers near any key.
      if (found.length === 0 && this.#found.get(name)?.peers === peers) this.#found.delete(name)
      return found
    })
    this.#found.delete(name)
    this.#found.set(name, { peers, at })
    const [oldest] = this.#found.keys()
    if (this.#found.size > MAX_KEYS && oldest !== undefined) this.#found.delete(oldest)
    return peers
  }

  async #query(key: Uint8Array): Promise<readonly PeerId[]> {
    const peers: PeerId[] = []
    try {
      for await (const peer of this.#options.query(key, AbortSignal.timeout(CLOSEST_QUERY_MS))) peers.push(peer)
    } catch {
      // What was found until then is better than nothing.
    }
    return peers
  }
}
