import { open } from 'node:fs/promises'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { sha256 } from '../fixtures/images/layers.ts'
import { blobPath, type Descriptor, LayoutWriter } from '../fixtures/images/layout.ts'
import type { Draw } from './draw.ts'

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const LAYER = 'application/vnd.oci.image.layer.v1.tar'

const SMALLEST = 1024
const LARGEST = 30 * 2 ** 20
/** Layers of an image, the least and one more than the most. */
const LAYERS = [2, 7] as const
/** Images that there are at a time. */
const IMAGES = 12
/** This part of an image's layers stays when it is built again. */
const KEPT_PART = 0.5

export type Blob = Pick<Descriptor, 'digest' | 'size'>

/** What a tag meant from some time on. */
interface Version {
  readonly digest: string
  /** When its push was over, in ms; undefined before. Until then the tag may mean this version or the one before. */
  pushed: number | undefined
  /** Config first. */
  readonly blobs: readonly Blob[]
}

/** One repository with one tag, which is overwritten as time goes. */
export interface Image {
  readonly repository: string
  readonly tag: string
  readonly layers: readonly Blob[]
  /** The newest last. */
  readonly versions: Version[]
}

/** The images that upstream has: some are there from the start, and each is built anew now and then. */
export class Images {
  readonly all: Image[] = []
  readonly #folder: string
  readonly #draw: Draw
  readonly #push: (layout: string) => Promise<void>
  #builds = 0

  /** @param folder of the layout that is pushed; blobs stay there, to be compared with */
  constructor(folder: string, draw: Draw, push: (layout: string) => Promise<void>) {
    this.#folder = folder
    this.#draw = draw
    this.#push = push
  }

  async fill(): Promise<void> {
    for (let number = 1; number <= IMAGES; number++) {
      await this.#build({ repository: `soak/image${number}`, tag: 'latest', layers: [], versions: [] })
    }
  }

  /** Overwrites the tag of one image. @returns its repository */
  async rebuild(): Promise<string> {
    const image = this.#draw.one(this.all)
    await this.#build(image)
    return image.repository
  }

  /** SHA-256 of a part of a blob, both ends inclusive. */
  async digestOfPart(digest: string, start: number, end: number): Promise<string> {
    const file = await open(blobPath(this.#folder, digest))
    try {
      const bytes = Buffer.alloc(end - start + 1)
      await file.read(bytes, 0, bytes.length, start)
      return sha256(bytes)
    } finally {
      await file.close()
    }
  }

  async #build(image: Image): Promise<void> {
    const { repository, tag, versions } = image
    const build = ++this.#builds
    // One folder for all builds, so that layers that are kept are there. Its index names what is pushed now.
    const layout = new LayoutWriter(this.#folder)
    const kept = image.layers.filter(() => this.#draw.chance(KEPT_PART))
    const count = Math.floor(this.#draw.between(...LAYERS))
    const fresh = Array.from({ length: Math.max(1, count - kept.length) }, (_, index) => {
      const size = Math.round(this.#draw.logBetween(SMALLEST, LARGEST))
      return layout.put(pseudoRandomBytes(size, `${repository} ${build} ${index}`), LAYER)
    })
    const layers: Descriptor[] = [...kept.map((blob) => ({ ...blob, mediaType: LAYER })), ...fresh]
    const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) }
    const config = layout.put({ architecture: 'amd64', os: 'linux', rootfs, build }, CONFIG)
    const manifest = layout.put({ schemaVersion: 2, mediaType: MANIFEST, config, layers }, MANIFEST)
    layout.name(`${repository}:${tag}`, manifest)
    layout.finish()
    const version: Version = { digest: manifest.digest, pushed: undefined, blobs: [config, ...layers] }
    const next = { repository, tag, layers, versions: [...versions, version] }
    const at = this.all.findIndex((other) => other.repository === repository)
    if (at >= 0) this.all[at] = next
    await this.#push(this.#folder)
    version.pushed = performance.now()
    if (at < 0) this.all.push(next)
  }
}
