import type { Digest } from '../../proxy/oci/digest.ts'
import { isManifestMediaType } from '../../proxy/oci/manifest.ts'
import {
  configOf,
  configuredPlatform,
  type IndexedManifest,
  indexedManifests,
  isOfPlatform,
} from '../../proxy/oci/platform.ts'
import { type Descriptor, readPushedManifest } from '../../proxy/oci/pushed-manifest.ts'
import { ControlError } from '../control/operation.ts'

/** A manifest of an image, read. */
export interface ImageNode {
  readonly digest: Digest
  readonly mediaType: string
  /** Bytes of the manifest. */
  readonly size: number
  readonly isIndex: boolean
  /** Of the index that names it, or of its own configuration. */
  readonly platform: string | undefined
  readonly config: Digest | undefined
  /** Configuration and layers; of an index what it names and calls no manifest, as BuildKit's cache does with its layers. */
  readonly blobs: readonly Descriptor[]
  readonly children: readonly ImageNode[]
  /** Manifests that it names, and that can't be had. */
  readonly missing: readonly Digest[]
  /** Platforms that it names, and whose manifests were not asked for. */
  readonly otherPlatforms: readonly string[]
}

/** Reads content whole; undefined where nobody has it. */
export type ReadContent = (kind: 'manifest' | 'blob', digest: Digest) => Promise<Uint8Array | undefined>

/** Indexes in indexes. */
const maxDepth = 4

/** Manifests of one image. */
const maxManifests = 1_000

/** Bytes of the manifests of one image. What they name is in memory, and takes a few times as much. */
const maxImageBytes = 64 * 1024 * 1024

/**
 * Reads the manifests of an image, those of an index too.
 * @param read throws where that can't be decided
 * @param platforms where any are given, what an index says is for another platform is not read
 * @returns undefined where its own manifest can't be had
 * @throws {OciError} for what is no manifest; {ControlError} for an image without bounds
 */
export async function readImage(
  digest: Digest,
  read: ReadContent,
  platforms: readonly string[] = [],
): Promise<ImageNode | undefined> {
  let length = 0
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
    length += bytes.length
    if (length > maxImageBytes)
      throw new ControlError(`the manifests of ${digest} have more than ${maxImageBytes} bytes`)
    const { mediaType, blobs: parts, others } = readPushedManifest(bytes, undefined)
    const indexed = indexedManifests(bytes)
    const called = (indexed ?? []).filter(({ mediaType: of }) => of === undefined || isManifestMediaType(of))
    const manifests = new Set(called.map((one) => one.digest))
    const blobs = [...parts, ...others.filter((other) => !manifests.has(other.digest))]
    const chosen = new Set(forPlatforms(called, platforms))
    const children: ImageNode[] = []
    const missing: Digest[] = []
    for (const one of chosen) {
      const child = await visit(one.digest, one.platform, depth + 1)
      if (child === undefined) missing.push(one.digest)
      else children.push(child)
    }
    const config = configOf(bytes)
    const own = platform ?? (depth === 0 && config !== undefined ? await platformOf(config, blobs, read) : undefined)
    const otherPlatforms = called.flatMap((one) => (chosen.has(one) ? [] : (one.platform ?? [])))
    const isIndex = indexed !== undefined
    const { length: size } = bytes
    const node = {
      digest: at,
      mediaType,
      size,
      isIndex,
      platform: own,
      config,
      blobs,
      children,
      missing,
      otherPlatforms,
    }
    seen.set(at, node)
    return node
  }
  return await visit(digest, undefined, 0)
}

/** What of an index is for one of some platforms, or may have something for it: an index in it, or all where it says no platform at all. */
function forPlatforms(indexed: readonly IndexedManifest[], platforms: readonly string[]): readonly IndexedManifest[] {
  if (platforms.length === 0 || indexed.every(({ platform }) => platform === undefined)) return indexed
  return indexed.filter(({ platform, mediaType }) => {
    if (platform === undefined) return mediaType === undefined || /\.(?:index|list)\./.test(mediaType)
    return platforms.some((asked) => isOfPlatform(platform, asked))
  })
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
  const manifests = manifestsOf(root)
  const images = manifests.filter(({ isIndex }) => !isIndex)
  const found = images.filter(({ platform }) => isOfPlatform(platform, asked))
  if (found.length > 0) return found
  const [only] = images
  if (images.length === 1 && only !== undefined && only.platform === undefined) return [only]
  const others = manifests.flatMap(({ otherPlatforms }) => otherPlatforms)
  const there = [...new Set([...platformsOf(root), ...others])].sort()
  throw new ControlError(
    `there is no ${asked} of it; there is ${there.length === 0 ? 'no platform' : there.join(', ')}`,
  )
}
