import { z } from 'zod'
import type { Digest } from '../../proxy/oci/digest.ts'
import { isPlatform } from '../../proxy/oci/platform.ts'
import type { ContentSource, LocalNames, TagResolver } from '../../proxy/ports.ts'
import type { Names } from '../../proxy/routes/addressing.ts'
import { answers, type Call, gives, type Operations, tells } from '../control/operation.ts'
import type { Pins } from '../local/pins.ts'
import type { LocalRecords } from '../local/records.ts'
import type { ImageRemover } from '../local/remove-image.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import { exportImage } from './export.ts'
import { ImageList } from './list.ts'
import { ImageManager } from './manage.ts'
import { ImageNames } from './names.ts'
import { pullImage } from './pull.ts'

export interface ImageParts {
  readonly registries: Names['registries']
  readonly local: LocalNames
  readonly content: ContentSource
  readonly tags: TagResolver
  readonly store: BlobStore
  readonly metadata: Metadata
  readonly records: LocalRecords
  readonly pins: Pins
  readonly remover: Pick<ImageRemover, 'remove'>
  /** What peers have pushed, by names without a registry. */
  readonly offers: () => readonly { readonly name: string; readonly digest: Digest }[]
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

const one = z.strictObject({ image: imageInput })
const some = z.strictObject({ image: imageInput, platforms: z.array(platformInput).max(maxPlatforms).default([]) })
const pulledInput = some.extend({ isPartEnough: z.boolean().default(false) })

/** What can be asked of a node about images, whether they are its own or of registries that it is a mirror of. */
export function imageOperations(parts: ImageParts): Operations {
  const { registries, local, content, tags, store, port, records } = parts
  const names = new ImageNames({ names: { registries, local }, tags, port })
  const list = new ImageList({ ...parts, records, registry: local.registry })
  const manager = new ImageManager({ ...parts, names, list })
  const isStored = (digest: Digest) => store.has(digest)
  const pull = (input: z.output<typeof some>, call: Call) => pullImage({ names, content, isStored }, input, call)
  return {
    images: answers(z.strictObject({}), async () => {
      const offers = parts.offers().map((offer) => ({ ...offer, name: `${local.registry}/${offer.name}` }))
      return {
        images: await list.images(),
        offers: offers.map((offer) => ({ ...offer, isHere: isStored(offer.digest) })),
      }
    }),
    export: gives(z.strictObject({ image: imageInput, platform: platformInput.optional() }), (input, signal) =>
      exportImage({ names, content, isStored }, input, signal),
    ),
    pull: tells(pulledInput, async (input, call) => {
      const { manifests: _, ...pulled } = await pull(input, call)
      return pulled
    }),
    pin: tells(some, async (input, call) => {
      const { manifests, ...pulled } = await pull(input, call)
      await manager.pin(input.image, { manifests })
      return pulled
    }),
    unpin: answers(one, ({ image }) => manager.unpin(image)),
    remove: answers(one, ({ image }) => manager.remove(image)),
    refresh: answers(one, ({ image }, signal) => manager.refresh(image, signal)),
    collect: answers(z.strictObject({ isDry: z.boolean() }), ({ isDry }) => manager.collect(isDry)),
  }
}
