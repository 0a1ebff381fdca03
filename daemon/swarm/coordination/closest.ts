import type { PeerId } from '../ports.ts'
import { CLOSEST_MS, CLOSEST_VALID_MS, MAX_KEYS } from './constants.ts'

interface ClosestPeersOptions {
  /** Whether the swarm is larger than what this node sees of it. */
  readonly isLarge: () => boolean
  readonly admits: (peer: PeerId) => boolean
  /** The peers nearest to a key, connected or not, as the swarm finds them; none where it can't be asked. */
  readonly query: (key: Uint8Array) => Promise<readonly PeerId[]>
}

interface Found {
  readonly peers: Promise<readonly PeerId[]>
  /** The same, once the lookup has ended. */
  named: readonly PeerId[]
  readonly at: number
}

/**
 * Peers near a key beyond those that are connected: in a large swarm each node is connected with others, and all must find the
 * same coordinator. Remembered for a while, as coordinators are asked for again and again.
 */
export class ClosestPeers {
  readonly #options: ClosestPeersOptions
  /** By key, the one looked up the longest ago first. */
  readonly #found = new Map<string, Found>()

  constructor(options: ClosestPeersOptions) {
    this.#options = options
  }

  /** A peer is not where it was: what it is named in is looked up again. */
  lost(peer: PeerId): void {
    for (const [name, { named }] of this.#found) if (named.includes(peer)) this.#found.delete(name)
  }

  /**
   * None where the swarm is small, or a lookup takes longer than {@link CLOSEST_MS}: what it finds then is for the next time, and until
   * then it is not waited for again.
   */
  async near(key: Uint8Array): Promise<readonly PeerId[]> {
    if (!this.#options.isLarge()) return []
    const name = Buffer.from(key).toString('hex')
    const before = this.#found.get(name)
    const now = performance.now()
    const isValid = before !== undefined && now - before.at < CLOSEST_VALID_MS
    const peers = isValid ? before.peers : this.#look(name, key, now)
    const { promise: late, resolve } = Promise.withResolvers<readonly PeerId[]>()
    const timer = setTimeout(() => resolve([]), isValid ? Math.max(0, before.at + CLOSEST_MS - now) : CLOSEST_MS)
    const near = await Promise.race([peers, late])
    clearTimeout(timer)
    return near.filter(this.#options.admits)
  }

  #look(name: string, key: Uint8Array, at: number): Promise<readonly PeerId[]> {
    const lookup = this.#options.query(key).catch(() => [])
    const peers = lookup.then((named) => {
      entry.named = named
      // It failed: there are peers near any key.
      if (named.length === 0 && this.#found.get(name) === entry) this.#found.delete(name)
      return named
    })
    const entry: Found = { peers, named: [], at }
    this.#found.delete(name)
    this.#found.set(name, entry)
    const [oldest] = this.#found.keys()
    if (this.#found.size > MAX_KEYS && oldest !== undefined) this.#found.delete(oldest)
    return peers
  }
}
