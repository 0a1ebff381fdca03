import { createHash } from 'node:crypto'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestFrom } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { LayoutWriter } from '../fixtures/images/layout.ts'
import { pushLayout } from '../fixtures/images/push.ts'

const PIECE_BYTES = 1024 * 1024
const TAG = '1'

export interface Blob {
  digest: Digest
  /** Bytes. */
  size: number
}

/** An image of one layer. */
export interface BenchImage {
  repository: string
  /** As a client writes it: `docker.io/<repository>:<tag>`. */
  reference: string
  layer: Blob
}

/** Writes a blob that does not compress to `blobs/sha256/` of a layout, where the same seed gives the same bytes. */
export async function writeBlob(layout: string, size: number, seed: string): Promise<Blob> {
  const folder = join(layout, 'blobs/sha256')
  const hash = createHash('sha256')
  const path = join(folder, 'partial')
  const file = await open(path, 'w')
  for (let position = 0; position < size; position += PIECE_BYTES) {
    const piece = pseudoRandomBytes(Math.min(PIECE_BYTES, size - position), `${seed} ${position}`)
    hash.update(piece)
    await file.write(piece)
  }
  await file.close()
  const digest = digestFrom('sha256', hash.digest('hex'))
  if (digest === undefined) throw new Error('a SHA-256 is always a digest')
  await rename(path, join(folder, digest.slice('sha256:'.length)))
  return { digest, size }
}

/** Makes images of the given layer sizes and pushes them to a registry. The name of a size becomes the repository's. */
export async function pushImages<Name extends string>(
  folder: string,
  registry: string,
  sizes: Readonly<Record<Name, number>>,
): Promise<Record<Name, BenchImage>> {
  const layout = new LayoutWriter(folder)
  const images: [string, BenchImage][] = []
  for (const [name, size] of Object.entries<number>(sizes)) {
    const repository = `bench/${name}`
    const layer = await writeImage(layout, `${repository}:${TAG}`, size, name)
    images.push([name, { repository, reference: `docker.io/${repository}:${TAG}`, layer }])
  }
  layout.finish()
  await pushLayout(folder, registry)
  return Object.fromEntries(images) as Record<Name, BenchImage>
}

/** Makes an image of one layer, for programs that push it by its reference in the layout. */
export async function layoutImage(folder: string, size: number): Promise<{ reference: string }> {
  const layout = new LayoutWriter(folder)
  await writeImage(layout, TAG, size, 'layout')
  layout.finish()
  return { reference: TAG }
}

async function writeImage(layout: LayoutWriter, reference: string, size: number, seed: string): Promise<Blob> {
  const layer = await writeBlob(layout.folder, size, seed)
  const rootfs = { type: 'layers', diff_ids: [layer.digest] }
  const config = layout.put({ architecture: 'amd64', os: 'linux', rootfs }, 'application/vnd.oci.image.config.v1+json')
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const layers = [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }]
  layout.name(reference, layout.put({ schemaVersion: 2, mediaType, config, layers }, mediaType))
  return layer
}

/** Where a registry, or a mirror of it, has the image's layer. A registry ignores the query that mirrors are asked by. */
export function layerUrl(registry: string, { repository, layer }: BenchImage): string {
  return `${registry}/v2/${repository}/blobs/${layer.digest}?ns=docker.io`
}
