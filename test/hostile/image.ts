import { KeySpace } from '../../daemon/swarm/find/key-space.ts'
import { hashOf, multihashOf } from '../../daemon/swarm/router/cid.ts'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { betray, type Gang } from './peer.ts'

export const manifestType = 'application/vnd.oci.image.manifest.v1+json'

export interface Image {
  readonly manifest: Digest
  readonly blobs: readonly Digest[]
}

/** Where the bytes of an image go. */
interface Upstream {
  addBlob(bytes: Buffer): Digest | Promise<Digest>
  addManifest(bytes: Buffer, mediaType: string): Digest | Promise<Digest>
}

/** Bytes of which a node does not coordinate the blob, as far as it sees: whoever attacks a blob makes PeerIds that are near it. */
function farFrom(self: string, others: readonly string[], make: (attempt: number) => Buffer): Buffer {
  const space = new KeySpace()
  for (const peer of [self, ...others]) space.add(peer)
  for (let attempt = 0; ; attempt++) {
    const bytes = make(attempt)
    const [nearest] = space.nearest(multihashOf(hashOf(digestOf(bytes))), 1)
    if (nearest !== self || others.length === 0) return bytes
  }
}

let images = 0

/** An image of 12 MiB, at upstream and known to hostile peers. @param self the node that is attacked */
export async function addImage(upstream: Upstream, gang: Gang, self: string): Promise<Image> {
  const name = `image ${images++}`
  const others = gang.peers.map(({ id }) => id)
  const add = async (what: string, size: number) => {
    const bytes = farFrom(self, others, (attempt) => pseudoRandomBytes(size, `${name} ${what} ${attempt}`))
    const digest = await upstream.addBlob(bytes)
    await betray(gang, digest, bytes)
    return { digest, size }
  }
  const config = { mediaType: 'application/vnd.oci.image.config.v1+json', ...(await add('config', 2_000)) }
  const mediaType = 'application/vnd.oci.image.layer.v1.tar'
  const layers = [
    { mediaType, ...(await add('first', 8 * chunkBytes)) },
    { mediaType, ...(await add('second', 4 * chunkBytes - 2_000)) },
  ]
  const bytes = farFrom(self, others, (attempt) =>
    Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: manifestType, config, layers, annotations: { attempt } }),
    ),
  )
  const manifest = await upstream.addManifest(bytes, manifestType)
  await betray(gang, manifest, bytes)
  return { manifest, blobs: [config, ...layers].map(({ digest }) => digest) }
}

/**
 * Pulls once, as containerd does.
 * @param url of a node
 * @returns ms, and what each request took
 * @throws {Error} where something does not come right at the first try
 */
export async function pull(url: string, { manifest, blobs }: Image): Promise<{ ms: number; took: readonly number[] }> {
  const since = performance.now()
  const took: number[] = []
  const get = async (path: string, digest: Digest) => {
    const began = performance.now()
    const got = await ask(url, path)
    took.push(Math.round(performance.now() - began))
    if (got.status !== 200 || !got.complete || digestOf(got.body) !== digest)
      throw new Error(`${path}: ${got.status}, ${got.status === 200 ? `${got.body.length} bytes` : got.body}`)
  }
  await get(`/v2/app/manifests/${manifest}`, manifest)
  await Promise.all(blobs.map((blob) => get(`/v2/app/blobs/${blob}`, blob)))
  return { ms: Math.round(performance.now() - since), took }
}
