import type { Digest } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { configOf, configuredPlatform, indexedManifests, isOfPlatform } from '../../proxy/oci/platform.ts'
import { type Descriptor, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import { ControlError } from '../control/operation.ts'

/** A manifest of an image, read. */
export interface ImageNode {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Uint8Array
  /** Of the index that names it, or of its own configuration. */
  readonly platform: string | undefined
  readonly config: Digest | undefined
  /** Configuration and layers. */
  readonly blobs: readonly Descriptor[]
  readonly children: readonly ImageNode[]
  /** Manifests that it names, and that can't be had. */
  readonly missing: readonly Digest[]
}

/** Reads content whole; undefined where nobody has it. */
export type ReadContent = (kind: 'manifest' | 'blob', digest: Digest) => Promise<Uint8Array | undefined>

/** Indexes in indexes. */
const maxDepth = 4

/** Manifests of one image. */
const maxManifests = 1_000

/**
 * Reads the manifests of an image, those of an index too.
 * @param read throws where that can't be decided
 * @returns undefined where its own manifest can't be had
 * @throws {OciError} for what is no manifest; {ControlError} for an image without bounds
 */
export async function readImage(digest: Digest, read: ReadContent): Promise<ImageNode | undefined> {
  const seen = new Map<Digest, ImageNode | undefined>()
  const visit = async (at: Digest, platform: string | undefined, depth: number): Promise<ImageNode | undefined> => {
    if (seen.has(at)) return seen.get(at)
    if (depth > maxDepth) throw new ControlError(`${digest} has indexes in indexes, more than ${maxDepth} deep`)
    if (seen.size >= maxManifests) throw new ControlError(`${digest} has more than ${maxManifests} manifests`)
    const bytes = await read('manifest', at)
    if (bytes === undefined) {
      seen.set(at, undefined)
      return undefined
    }
    const { mediaType, blobs } = readPushedManifest(bytes, undefined)
    const children: ImageNode[] = []
    const missing: Digest[] = []
    for (const one of indexedManifests(bytes) ?? []) {
      const child = await visit(one.digest, one.platform, depth + 1)
      if (child === undefined) missing.push(one.digest)
      else children.push(child)
    }
    const config = configOf(bytes)
    const own = platform ?? (depth === 0 && config !== undefined ? await platformOf(config, blobs, read) : undefined)
    const node = { digest: at, mediaType, bytes, platform: own, config, blobs, children, missing }
    seen.set(at, node)
    return node
  }
  return await visit(digest, undefined, 0)
}

/** Bytes of a configuration that is read for its platform. */
const maxConfigBytes = 4 * 1024 * 1024

async function platformOf(
  config: Digest,
  blobs: readonly Descriptor[],
  read: ReadContent,
): Promise<string | undefined> {
  const size = blobs.find(({ digest }) => digest === config)?.size ?? 0
  if (size > maxConfigBytes) return undefined
  const bytes = await read('blob', config)
  return bytes && configuredPlatform(bytes)
}

/** All manifests of an image, each once, what is named before what names it. */
export function manifestsOf(root: ImageNode): ImageNode[] {
  const found = new Map<Digest, ImageNode>()
  const visit = (node: ImageNode) => {
    if (found.has(node.digest)) return
    for (const child of node.children) visit(child)
    found.set(node.digest, node)
  }
  visit(root)
  return [...found.values()]
}

/** All blobs of manifests, each once. */
export function blobsOf(manifests: readonly ImageNode[]): Descriptor[] {
  return [...new Map(manifests.flatMap(({ blobs }) => blobs).map((blob) => [blob.digest, blob])).values()]
}

/** Platforms of the images of an index, or of the image itself, sorted. */
export function platformsOf(root: ImageNode): string[] {
  const found = manifestsOf(root).flatMap(({ platform }) => platform ?? [])
  return [...new Set(found)].sort()
}

/**
 * The images of an index that are for a platform; an image that says nothing of its platform is for all.
 * @throws {ControlError} with the platforms that there are, where there is none for it
 */
export function ofPlatform(root: ImageNode, asked: string): ImageNode[] {
  const images = manifestsOf(root).filter(({ children }) => children.length === 0)
  const found = images.filter(({ platform }) => isOfPlatform(platform, asked))
  if (found.length > 0) return found
  const [only] = images
  if (images.length === 1 && only !== undefined && only.platform === undefined) return [only]
  const there = platformsOf(root)
  throw new ControlError(
    `there is no ${asked} of it; there is ${there.length === 0 ? 'no platform' : there.join(', ')}`,
  )
}

/** Whether an error says that somebody asked has not got it, as against that it could not be asked. */
export function isUnknown(error: unknown): boolean {
  return error instanceof OciError && error.status === 404
}
