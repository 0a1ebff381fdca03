import { setMaxListeners } from 'node:events'
import type { LevelDatastore } from 'datastore-level'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { create, decode } from 'multiformats/hashes/digest'
import { sha256 } from 'multiformats/hashes/sha2'
import type { Digest } from '../../../proxy/oci/digest.ts'
import type { Node } from '../node.ts'
import type { PeerId } from '../ports.ts'
import { keyOf } from './cid.ts'
import { MAX_RECORDS_READ } from './constants.ts'

/** Where kad-dht keeps provider records: `/dht/provider/<multihash in base32>/<PeerId>`. */
const PROVIDER_PREFIX = '/dht/provider/'

/** This node's provider records, at peers and in its own datastore. */
export class ProviderRecords {
  readonly #node: Node
  readonly #datastore: LevelDatastore

  constructor(node: Node, datastore: LevelDatastore) {
    this.#node = node
    this.#datastore = datastore
  }

  /** Announces a blob: writes the local record and sends it to the nearest peers. Gives how many took it. */
  async provide(digest: Digest, signal: AbortSignal): Promise<number> {
    // each request of the query listens to it
    setMaxListeners(0, signal)
    let reached = 0
    for await (const event of this.#node.services.dht.provide(keyOf(digest), { signal })) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') reached++
    }
    return reached
  }

  /**
   * Providers that the local records name for a key, which is the hash in its CID: those that are connected before others,
   * which may be gone for good, and in another order each time, so that they share the load.
   */
  async local(key: Uint8Array, limit: number): Promise<readonly PeerId[]> {
    const prefix = `${PROVIDER_PREFIX}${base32.baseEncode(create(sha256.code, key).bytes)}/`
    const names = await this.#datastore.db.keys({ gt: prefix, lt: `${prefix}~`, limit: MAX_RECORDS_READ }).all()
    const connected = new Set([this.#node.peerId, ...this.#node.getPeers()].map(String))
    return names
      .map((name) => ({ peer: name.slice(prefix.length), order: Math.random() }))
      .sort((a, b) => Number(connected.has(b.peer)) - Number(connected.has(a.peer)) || a.order - b.order)
      .slice(0, limit)
      .map(({ peer }) => peer)
  }

  /** Removes the local record, so that it is neither told to peers nor announced again. */
  async remove(digest: Digest, signal: AbortSignal): Promise<void> {
    await this.#node.services.dht.cancelReprovide(keyOf(digest), { signal })
  }

  /** Removes local records of all other blobs. */
  async retain(held: AsyncIterable<Digest>, signal: AbortSignal): Promise<void> {
    const keep = new Set<string>()
    for await (const digest of held) {
      signal.throwIfAborted()
      keep.add(base32.baseEncode(keyOf(digest).multihash.bytes))
    }
    const own = `/${this.#node.peerId}`
    for await (const key of this.#datastore.db.keys({ gt: PROVIDER_PREFIX, lt: `${PROVIDER_PREFIX}~` })) {
      signal.throwIfAborted()
      const multihash = key.slice(PROVIDER_PREFIX.length, -own.length)
      if (!key.endsWith(own) || keep.has(multihash)) continue
      const cid = CID.createV1(raw.code, decode(base32.baseDecode(multihash)))
      await this.#node.services.dht.cancelReprovide(cid, { signal })
    }
  }
}
