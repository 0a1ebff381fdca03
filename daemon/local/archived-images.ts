import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { parseReference, type Reference } from '../../proxy/oci/reference.ts'
import { BadArchive } from '../archive/errors.ts'
import { type ArchivedImage, type DockerImage, readDiffIds, readDockerManifest, readIndex } from '../archive/layout.ts'
import type { StagedFile, StagedFiles } from './staged-files.ts'

/** An image of an archive, and its name here. */
export interface NamedImage {
  readonly digest: Digest
  readonly mediaType: string | undefined
  /** Repository of the local registry. */
  readonly name: string
  readonly tags: readonly string[]
  /** Whether the user chose the name. One that only the archive says must not decide what a name means to Docker. */
  readonly isChosen: boolean
  /** Of an image that came without a manifest: the one that was made for it. */
  readonly manifest?: Buffer | undefined
}

interface FoundImage extends ArchivedImage {
  readonly manifest?: Buffer
}

const newestTag = 'latest'
const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const configType = 'application/vnd.oci.image.config.v1+json'
const layerType = 'application/vnd.oci.image.layer.v1.tar'

/**
 * The images of an archive, by the names that they get here. All of them are local: the registry of a name is left out, as an archive
 * can say anything of what is another registry's.
 * @param asked the name that the user gave, if any
 * @throws {BadArchive} where there are none, or one has no name
 */
export async function archivedImages(files: StagedFiles, asked: Reference | undefined): Promise<readonly NamedImage[]> {
  const found = await findImages(files)
  if (found.length === 0) throw new BadArchive('the archive has no image')
  const named = asked === undefined ? withOwnNames(found) : withName(found, asked)
  assertDistinct(named)
  const images = new Map<string, NamedImage>()
  for (const image of named) {
    const key = `${image.name}@${image.digest}`
    images.set(key, { ...image, tags: [...new Set([...(images.get(key)?.tags ?? []), ...image.tags])] })
  }
  return [...images.values()]
}

/** An OCI layout comes first: what it says has digests. */
async function findImages(files: StagedFiles): Promise<readonly FoundImage[]> {
  const index = files.document('index.json')
  const images = index === undefined ? [] : readIndex(index)
  if (images.length > 0) return images
  const docker = files.document('manifest.json')
  if (docker === undefined && index !== undefined) return []
  if (docker === undefined)
    throw new BadArchive(
      'the archive has neither an index.json, as OCI layouts have, nor a manifest.json, as "docker save" writes it',
    )
  const found: FoundImage[] = []
  for (const image of readDockerManifest(docker)) {
    const manifest = await manifestFor(image, files)
    const { references } = image
    for (const reference of references.length === 0 ? [undefined] : references) {
      found.push({ ...manifest, reference, tag: reference?.tag })
    }
  }
  return found
}

/** Makes a manifest for an image that has none, of its files as they are, so that it is the same each time. @throws {BadArchive} */
async function manifestFor({ config, layers }: DockerImage, files: StagedFiles) {
  const configFile = files.named(config)
  const layerFiles = layers.map((layer) => files.named(layer))
  const diffIds = readDiffIds(config, await files.bytes(configFile))
  if (diffIds.length !== layerFiles.length) {
    throw new BadArchive(
      `the image of ${config} has ${layerFiles.length} layers, and its configuration ${diffIds.length}`,
    )
  }
  const described = layerFiles.map((file, index) => {
    const compression = compressionOf(file)
    if (compression === '' && file.digest !== diffIds[index]) {
      throw new BadArchive(
        `${layers[index]} is not the layer that the configuration of its image names (${diffIds[index]})`,
      )
    }
    return descriptorOf(file, `${layerType}${compression}`)
  })
  const fields = {
    schemaVersion: 2,
    mediaType: manifestType,
    config: descriptorOf(configFile, configType),
    layers: described,
  }
  const manifest = Buffer.from(JSON.stringify(fields))
  return { digest: digestOf(manifest), mediaType: manifestType, manifest }
}

function descriptorOf({ digest, size }: StagedFile, mediaType: string) {
  return { mediaType, digest, size }
}

function compressionOf({ head }: StagedFile): '' | '+gzip' | '+zstd' {
  if (head[0] === 0x1f && head[1] === 0x8b) return '+gzip'
  return head.length === 4 && Buffer.from(head).readUInt32LE() === 0xfd2fb528 ? '+zstd' : ''
}

function withOwnNames(images: readonly FoundImage[]): NamedImage[] {
  const repositories = new Set(images.flatMap(({ reference }) => (reference === undefined ? [] : localName(reference))))
  const [only] = repositories
  if (only === undefined) throw new BadArchive('the archive has no name for its image: give one with --name NAME[:TAG]')
  return images.map(({ digest, mediaType, manifest, reference, tag }) => {
    // What belongs to the one image that has a name, such as a signature, goes with it.
    if (reference === undefined && repositories.size > 1)
      throw new BadArchive(`the archive has several names, and none for ${digest}: give one with --name NAME`)
    const name = reference === undefined ? only : localName(reference)
    return { digest, mediaType, manifest, name, tags: tagsOf(reference, tag), isChosen: false }
  })
}

function tagsOf(reference: Reference | undefined, tag: string | undefined): string[] {
  if (tag !== undefined) return [tag]
  return reference === undefined || reference.digest !== undefined ? [] : [newestTag]
}

function withName(images: readonly FoundImage[], asked: Reference): NamedImage[] {
  const name = localName(asked)
  const digests = new Set(images.map(({ digest }) => digest))
  if (asked.tag !== undefined && digests.size > 1) {
    throw new BadArchive(
      `the archive has ${digests.size} images, which can't all be ${asked.name}:${asked.tag}: give a name without a tag`,
    )
  }
  return images.map(({ digest, mediaType, manifest, tag }) => {
    const own = tag ?? (digests.size === 1 ? newestTag : undefined)
    const given = asked.tag ?? own
    return { digest, mediaType, manifest, name, tags: given === undefined ? [] : [given], isChosen: true }
  })
}

/** Docker's official images are called without what Docker Hub adds. */
function localName({ registry, name }: Reference): string {
  return registry === 'docker.io' ? name.replace(/^library\//, '') : name
}

function assertDistinct(images: readonly NamedImage[]): void {
  const taken = new Map<string, Digest>()
  for (const { name, tags, digest } of images) {
    for (const tag of tags) {
      const before = taken.get(`${name}:${tag}`)
      if (before !== undefined && before !== digest)
        throw new BadArchive(`two images of the archive would be ${name}:${tag}: import them one by one, with --name`)
      taken.set(`${name}:${tag}`, digest)
    }
  }
}

/** Reads a name that a user gives to an image of this node. @throws {OciError} NAME_INVALID; {BadArchive} for one with a digest */
export function readLocalName(text: string): Reference {
  const reference = parseReference(text)
  if (reference.digest === undefined) return reference
  throw new BadArchive(`${text} has a digest, which no name can give an image: write NAME[:TAG]`)
}
