import { algorithmOf, type Digest, hexOf } from '../../proxy/oci/digest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import { isOfPlatform, ownPlatform } from '../../proxy/oci/platform.ts'
import type { ContentSource } from '../../proxy/ports.ts'
import { nameAnnotation, refAnnotation } from '../archive/layout.ts'
import { type NewEntry, writeArchive } from '../archive/write.ts'
import { ControlError } from '../control/operation.ts'
import { chooseImage } from './choose.ts'
import { contentBytes } from './content.ts'
import { type ImageName, type ImageNames, nameText } from './names.ts'
import { blobsOf, type ImageNode, manifestsOf, ofPlatform } from './tree.ts'

interface ExportOptions {
  readonly names: ImageNames
  readonly content: Pick<ContentSource, 'open' | 'held'>
  /** Whether the store has a blob. */
  readonly isStored: (digest: Digest) => boolean
}

interface ExportedImage {
  /** As its user wrote it. */
  readonly image: string
  /** One of its platforms, whose image is exported alone. Without it those that are whole here, or all of them where none is. */
  readonly platform?: string | undefined
}

/**
 * An image as an archive that is an OCI layout and what `docker load` reads, with its digests as they are. What is not here is fetched.
 * @throws {OciError}, {ControlError}, before its first byte wherever that is possible
 */
export async function exportImage(
  options: ExportOptions,
  { image, platform }: ExportedImage,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const { names, content } = options
  const name = names.parse(image)
  const { repository } = name
  const digest = await names.resolve(name, signal)
  const platforms = platform === undefined ? [] : [platform]
  const { root: whole } = await chooseImage(options, { name, digest, platforms, isPartEnough: true }, signal)
  const root = platform === undefined ? whole : only(ofPlatform(whole, platform), platform)
  const manifests = manifestsOf(root)
  if (manifests.every(({ children, blobs, missing }) => missing.length > 0 && children.length + blobs.length === 0)) {
    throw new ControlError(`nobody has any image of ${nameText(name)}`)
  }
  const entries = async function* (): AsyncGenerator<NewEntry> {
    yield document('oci-layout', { imageLayoutVersion: '1.0.0' })
    yield document('index.json', indexFor(root, name))
    yield document('manifest.json', dockerManifest(root, name))
    for (const node of manifests) {
      const body = contentBytes(content, { kind: 'manifest', repository, digest: node.digest, signal })
      yield { name: pathOf(node.digest), size: node.size, body }
    }
    for (const blob of blobsOf(manifests)) {
      const body = contentBytes(content, { kind: 'blob', repository, digest: blob.digest, signal })
      yield { name: pathOf(blob.digest), size: blob.size, body }
    }
  }
  return writeArchive(entries())
}

function only(images: readonly ImageNode[], platform: string): ImageNode {
  const [first] = images
  if (first !== undefined && images.length === 1) return first
  const variants = images.map((image) => image.platform).join(', ')
  throw new ControlError(`${platform} means several images of it: choose one of ${variants}`)
}

function document(name: string, value: unknown): NewEntry {
  const bytes = Buffer.from(JSON.stringify(value))
  return { name, size: bytes.length, body: [bytes] }
}

/** Image-spec 1.1, "Image Layout"; containerd, Docker and podman take the whole name from an annotation of containerd's. */
function indexFor({ digest, mediaType, size }: ImageNode, name: ImageName) {
  const annotations =
    name.tag === undefined ? undefined : { [nameAnnotation]: taggedName(name), [refAnnotation]: name.tag }
  return { schemaVersion: 2, mediaType: indexType, manifests: [{ mediaType, digest, size, annotations }] }
}

/** What Docker reads that does not know OCI layouts: one image, that of this machine's platform where there is one. */
function dockerManifest(root: ImageNode, name: ImageName) {
  const images = manifestsOf(root).filter(({ config }) => config !== undefined)
  const hasPlatform = images.filter(({ platform }) => platform !== undefined)
  const fitting = images.find(({ platform }) => isOfPlatform(platform, ownPlatform())) ?? hasPlatform[0] ?? images[0]
  if (fitting?.config === undefined) return []
  const { config, blobs } = fitting
  const layers = blobs.filter(({ digest }) => digest !== config).map(({ digest }) => pathOf(digest))
  return [{ Config: pathOf(config), RepoTags: name.tag === undefined ? [] : [taggedName(name)], Layers: layers }]
}

const indexType = 'application/vnd.oci.image.index.v1+json'

function taggedName({ repository, tag }: ImageName): string {
  return `${repositoryText(repository)}:${tag}`
}

function pathOf(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
}
