import type { Digest } from '../../../proxy/oci/digest.ts'
import type { PeerId } from '../ports.ts'
import { ABSENT_MS, FAILED_MS, MAX_REMEMBERED } from './constants.ts'

/** What is remembered for a short time of peers that were asked for a blob in vain. */
export class Reputation {
  readonly #absent = new Map<string, number>()
  readonly #failed = new Map<PeerId, number>()

  /** The peer answered that it does not have the blob. */
  absent(peer: PeerId, digest: Digest): void {
    remember(this.#absent, `${peer} ${digest}`, ABSENT_MS)
  }

  failed(peer: PeerId): void {
    remember(this.#failed, peer, FAILED_MS)
  }

  /** The peer is back. */
  forgive(peer: PeerId): void {
    this.#failed.delete(peer)
  }

  isAbsent(peer: PeerId, digest: Digest): boolean {
    return isCurrent(this.#absent, `${peer} ${digest}`)
  }

  hasFailed(peer: PeerId): boolean {
    return isCurrent(this.#failed, peer)
  }
}

function remember<K>(map: Map<K, number>, key: K, ms: number): void {
  map.delete(key)
  map.set(key, performance.now() + ms)
  const [oldest] = map.keys()
  if (map.size > MAX_REMEMBERED && oldest !== undefined) map.delete(oldest)
}

function isCurrent<K>(map: Map<K, number>, key: K): boolean {
  const until = map.get(key)
  if (until === undefined) return false
  if (until > performance.now()) return true
  map.delete(key)
  return false
}
