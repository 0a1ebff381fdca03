import { join } from 'node:path'
import { type Descriptor, LayoutWriter } from '../../fixtures/images/layout.ts'
import { writeBlob } from '../image.ts'

const TAG = '1'
const MANIFEST_TYPE = 'application/vnd.oci.image.manifest.v1+json'

/** Size in bytes. */
export type Content = Pick<Descriptor, 'digest' | 'size'>

/** An image of several layers. */
export interface FleetImage {
  repository: string
  tag: string
  manifest: Content
  /** Config first, then the layers. */
  blobs: readonly Content[]
  /** Bytes of all of it. */
  size: number
}

/** Writes images to a layout, ready to be pushed. */
export class FleetImages {
  /** Folder with the blobs of all images, named by their digests. */
  readonly blobs: string
  readonly #layout: LayoutWriter

  constructor(folder: string) {
    this.#layout = new LayoutWriter(folder)
    this.blobs = join(folder, 'blobs/sha256')
  }

  /**
   * Adds an image whose layers do not compress and shrink evenly: they end at different times, as a real image's do.
   *
   * @param size bytes of all layers
   */
  async add(name: string, size: number, count: number): Promise<FleetImage> {
    const layers: Content[] = []
    const parts = (count * (count + 1)) / 2
    for (let left = count; left > 0; left--) {
      const rest = size - layers.reduce((sum, layer) => sum + layer.size, 0)
      const bytes = left === 1 ? rest : Math.floor((size * left) / parts)
      layers.push(await writeBlob(this.#layout.folder, bytes, `${name} ${left}`))
    }
    const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) }
    const config = this.#layout.put(
      { architecture: 'amd64', os: 'linux', rootfs },
      'application/vnd.oci.image.config.v1+json',
    )
    const content = {
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      config,
      layers: layers.map((layer) => ({ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer })),
    }
    const manifest = this.#layout.put(content, MANIFEST_TYPE)
    const repository = `fleet/${name}`
    this.#layout.name(`${repository}:${TAG}`, manifest)
    const blobs = [config, ...layers]
    return {
      ...{ repository, tag: TAG, manifest, blobs },
      size: [manifest, ...blobs].reduce((sum, blob) => sum + blob.size, 0),
    }
  }

  finish(): void {
    this.#layout.finish()
  }
}
