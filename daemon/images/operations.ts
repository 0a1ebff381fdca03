import { z } from 'zod'
import { isPlatform } from '../../proxy/oci/platform.ts'
import type { ContentSource, TagResolver } from '../../proxy/ports.ts'
import type { Names } from '../../proxy/routes/addressing.ts'
import { gives, type Operations, tells } from '../control/operation.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { exportImage } from './export.ts'
import { ImageNames } from './names.ts'
import { pullImage } from './pull.ts'

export interface ImageParts {
  readonly names: Names
  readonly content: ContentSource
  readonly tags: TagResolver
  readonly store: Pick<BlobStore, 'has'>
  /** The port of this node's registry. */
  readonly port: () => number | undefined
}

/** Characters of an image's name: those of a name, a tag and a digest, and some more to say what is wrong with a longer one. */
const maxNameLength = 1_000

/** Platforms of one image that are asked for. */
const maxPlatforms = 20

export const imageInput = z.string().min(1).max(maxNameLength)

const platformInput = z
  .string()
  .max(100)
  .refine(isPlatform, 'expected a platform such as linux/amd64 or linux/arm64/v8')

/** What can be asked of a node about images, whether they are its own or of registries that it is a mirror of. */
export function imageOperations({ names: known, content, tags, store, port }: ImageParts): Operations {
  const names = new ImageNames({ names: known, tags, port })
  const pulls = { names, content, isStored: (digest: Parameters<typeof store.has>[0]) => store.has(digest) }
  return {
    export: gives(z.strictObject({ image: imageInput, platform: platformInput.optional() }), (input, signal) =>
      exportImage({ names, content }, input, signal),
    ),
    pull: tells(
      z.strictObject({ image: imageInput, platforms: z.array(platformInput).max(maxPlatforms).default([]) }),
      async (input, call) => {
        const { manifests: _, ...pulled } = await pullImage(pulls, input, call)
        return pulled
      },
    ),
  }
}
