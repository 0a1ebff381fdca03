import type { Digest } from '../../../proxy/oci/digest.ts'
import type { Node } from '../node.ts'
import type { PeerId } from '../ports.ts'
import { hashOf } from './cid.ts'
import type { RecordStore } from './record-store.ts'

/** This node's provider records, at peers and in its own datastore. */
export class ProviderRecords {
  readonly #node: Pick<Node, 'peerId' | 'getPeers'>
  readonly #store: RecordStore

  constructor(node: Pick<Node, 'peerId' | 'getPeers'>, store: RecordStore) {
    this.#node = node
    this.#store = store
  }

  /**
   * Providers that the local records name for a key, which is the hash in its CID: those that are connected before others,
   * which may be gone for good, and in another order each time, so that they share the load.
   */
  async local(key: Uint8Array, limit: number): Promise<readonly PeerId[]> {
    const providers = await this.#store.providers(key)
    // Most keys that are asked for have no record, and libp2p's list of peers costs more than reading none.
    if (providers.length < 2) return providers.slice(0, limit)
    const connected = new Set([this.#node.peerId, ...this.#node.getPeers()].map(String))
    return providers
      .map((peer) => ({ peer, order: Math.random() }))
      .sort((a, b) => Number(connected.has(b.peer)) - Number(connected.has(a.peer)) || a.order - b.order)
      .slice(0, limit)
      .map(({ peer }) => peer)
  }

  /** Writes local records that this node has blobs. */
  async keep(digests: readonly Digest[]): Promise<void> {
    await this.#store.place(this.#node.peerId.toString(), digests.map(hashOf))
  }

  /** Removes the local record, so that it is neither told to peers nor announced again. */
  async remove(digest: Digest): Promise<void> {
    await this.#store.withdraw(this.#node.peerId.toString(), [hashOf(digest)])
  }

  /** Removes local records of all other blobs. */
  async retain(held: AsyncIterable<Digest>, signal: AbortSignal): Promise<void> {
    await this.#store.retain(hashesOf(held), signal)
  }
}

async function* hashesOf(digests: AsyncIterable<Digest>): AsyncGenerator<Uint8Array, void> {
  for await (const digest of digests) yield hashOf(digest)
}
