import { z } from 'zod'
import { type Digest, isDigest } from '../../proxy/oci/digest.ts'
import { parseReference, type Reference } from '../../proxy/oci/reference.ts'
import { BadArchive } from './errors.ts'

/** An image that an archive says it has. */
export interface ArchivedImage {
  readonly digest: Digest
  readonly mediaType: string | undefined
  /** The whole name that the archive has for it. */
  readonly reference: Reference | undefined
  /** The tag alone, where that is all that the archive says. */
  readonly tag: string | undefined
}

/** An image of `docker save` that has no manifest. */
export interface DockerImage {
  /** Names of files in the archive. */
  readonly config: string
  readonly layers: readonly string[]
  readonly references: readonly Reference[]
}

/** Images of one archive. */
const maxImages = 10_000

/** Layers of one image; overlayfs takes 128. */
const maxLayers = 1_000

/** What programs call an image in an OCI layout: containerd and BuildKit the whole name, others a tag or the whole name. */
export const nameAnnotation = 'io.containerd.image.name'
export const refAnnotation = 'org.opencontainers.image.ref.name'

const indexSchema = z.object({
  manifests: z
    .array(
      z.object({
        mediaType: z.string().optional(),
        digest: z.string().refine(isDigest),
        annotations: z.record(z.string(), z.unknown()).nullish(),
      }),
    )
    .max(maxImages),
})

/** Reads the `index.json` of an OCI layout (image-spec 1.1, "Image Layout"). @throws {BadArchive} */
export function readIndex(bytes: Uint8Array): ArchivedImage[] {
  const { manifests } = read('index.json', bytes, indexSchema)
  return manifests.map(({ digest, mediaType, annotations }) => {
    const given = [annotations?.[nameAnnotation], annotations?.[refAnnotation]].filter(
      (name) => typeof name === 'string',
    )
    const reference = given.map(wholeName).find((name) => name !== undefined)
    const tag = given.find((name) => !/[/:@]/.test(name)) ?? reference?.tag
    return { digest: digest as Digest, mediaType, reference, tag }
  })
}

const dockerSchema = z
  .array(
    z.object({
      Config: z.string(),
      RepoTags: z.array(z.string()).max(maxImages).nullish(),
      Layers: z.array(z.string()).max(maxLayers).nullish(),
    }),
  )
  .max(maxImages)

/** Reads the `manifest.json` of `docker save`. @throws {BadArchive} */
export function readDockerManifest(bytes: Uint8Array): DockerImage[] {
  return read('manifest.json', bytes, dockerSchema).map(({ Config, RepoTags, Layers }) => ({
    config: Config,
    layers: Layers ?? [],
    references: (RepoTags ?? []).map(wholeName).filter((name) => name !== undefined),
  }))
}

const configSchema = z.object({ rootfs: z.object({ diff_ids: z.array(z.string()).max(maxLayers) }) })

/** Digests of the layers of an image as its configuration has them, uncompressed (image-spec 1.1, "Layer DiffID"). @throws {BadArchive} */
export function readDiffIds(name: string, bytes: Uint8Array): readonly string[] {
  return read(name, bytes, configSchema).rootfs.diff_ids
}

/** A word alone is a tag: image-spec 1.1 wants no more of `org.opencontainers.image.ref.name`. */
function wholeName(name: string): Reference | undefined {
  if (!/[/:@]/.test(name)) return undefined
  try {
    return parseReference(name)
  } catch {
    return undefined
  }
}

function read<Schema extends z.ZodType>(name: string, bytes: Uint8Array, schema: Schema): z.output<Schema> {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    throw new BadArchive(`the ${name} of the archive is no JSON`)
  }
  const result = schema.safeParse(parsed)
  if (result.success) return result.data
  const { path, message } = result.error.issues[0] ?? { path: [], message: 'unknown form' }
  throw new BadArchive(`the ${name} of the archive can't be read: ${path.join('.')}: ${message}`)
}
