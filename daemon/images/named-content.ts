import { type Digest, isDigest } from '../../proxy/oci/digest.ts'
import { isManifestMediaType } from '../../proxy/oci/manifest.ts'
import { ControlError } from '../control/operation.ts'
import type { BlobStore } from '../store/blob-store.ts'
import { readWhole } from '../store/read-whole.ts'

type Store = Pick<BlobStore, 'record' | 'openUntouched'>

/**
 * What manifests of the store name, as far as that is here, and they themselves. For what is deleted, this must never say too little: so it reads all kinds of
 * manifests, asks nothing of their form, and what can't be read is an error. The subject of a signature is not its content.
 */
export class NamedContent {
  readonly #store: Store
  /** What manifests name that were read. */
  readonly #read = new Map<Digest, readonly Named[]>()

  constructor(store: Store) {
    this.#store = store
  }

  /** All that an image has, by its manifest's digest. @throws {ControlError} */
  async of(root: Digest): Promise<ReadonlySet<Digest>> {
    const found = new Set<Digest>([root])
    const manifests = new Set<Digest>([root])
    // A set gives what is added to it while it is read.
    for (const manifest of manifests) {
      for (const { digest, isManifest } of await this.#namedBy(manifest)) {
        found.add(digest)
        if (isManifest || isManifestMediaType(this.#store.record(digest)?.mediaType)) manifests.add(digest)
      }
    }
    return found
  }

  async #namedBy(digest: Digest): Promise<readonly Named[]> {
    const before = this.#read.get(digest)
    if (before !== undefined) return before
    const bytes = await readWhole(this.#store, digest).catch((error: unknown) => {
      const reason = (error as Error).message
      throw new ControlError(`nothing is removed: what ${digest} names is not known, as it can not be read (${reason})`)
    })
    const named =
      bytes === undefined ? [] : namedIn(bytes).filter((one) => this.#store.record(one.digest) !== undefined)
    this.#read.set(digest, named)
    return named
  }
}

interface Named {
  readonly digest: Digest
  /** Whether it is called a manifest, or nothing. */
  readonly isManifest: boolean
}

/** Fields by which manifests name content: of OCI, of Docker's schemas 2 and 1, and of artifacts. */
const fields = ['config', 'layers', 'blobs', 'manifests', 'fsLayers'] as const

function namedIn(manifest: Uint8Array): Named[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(manifest.buffer, manifest.byteOffset, manifest.byteLength).toString('utf8'))
  } catch {
    return []
  }
  return fields.flatMap((field) => {
    const value = propertyOf(parsed, field)
    return (Array.isArray(value) ? value : [value]).flatMap((descriptor: unknown): Named[] => {
      const digest = propertyOf(descriptor, 'digest') ?? propertyOf(descriptor, 'blobSum')
      const mediaType = propertyOf(descriptor, 'mediaType')
      if (typeof digest !== 'string' || !isDigest(digest)) return []
      const isManifest = field === 'manifests' && (typeof mediaType !== 'string' || isManifestMediaType(mediaType))
      return [{ digest, isManifest }]
    })
  })
}

function propertyOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}
