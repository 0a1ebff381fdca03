import type { Digest } from '../../proxy/oci/digest.ts'
import type { SharedBlob } from '../swarm/ports.ts'
import { stateBytes } from '../verify/state.ts'
import type { LocalBlob } from './local-blob.ts'

/** Complete blobs of this node that peers may have. */
export interface SharedStore {
  open(digest: Digest): Promise<SharedBlob | undefined>
  /** Its inner checkpoints; undefined where it is not held, or not to be shared. */
  list(digest: Digest): Promise<Uint8Array | undefined>
}

/** One of which this node has nothing yet. */
export const unknownBlob: LocalBlob = {
  facts: undefined,
  list: { known: 0, isComplete: false, encode: () => new Uint8Array(0), signed: undefined },
  open: async () => undefined,
}

/** A blob that is held, as the swarm sees it. @param states its inner checkpoints */
export function storedBlob(
  facts: LocalBlob['facts'],
  states: Uint8Array,
  open: () => Promise<SharedBlob | undefined>,
): LocalBlob {
  const list = {
    known: states.length / stateBytes,
    isComplete: true,
    encode: (from: number) => states.subarray(from * stateBytes),
    signed: undefined,
  }
  return { facts, list, open }
}

/** What is found within this time is told at once, in ms: peers ask for the blobs of an image in one moment. */
const TOGETHER_MS = 10

/** Blobs that peers ask for and that may be held: what is found in one moment is told at once. */
export class StoredBlobs {
  readonly #content: SharedStore
  readonly #onFound: (found: ReadonlyMap<Digest, LocalBlob | undefined>) => void
  #found = new Map<Digest, LocalBlob | undefined>()
  #opening = 0
  #timer: NodeJS.Timeout | undefined

  /** @param onFound told of each; undefined where peers can't have it */
  constructor(content: SharedStore, onFound: (found: ReadonlyMap<Digest, LocalBlob | undefined>) => void) {
    this.#content = content
    this.#onFound = onFound
  }

  /** How many are looked for at present. */
  get size(): number {
    return this.#opening
  }

  open(digest: Digest): void {
    this.#opening++
    this.#find(digest)
      .catch(() => undefined)
      .then((blob) => {
        this.#opening--
        this.#found.set(digest, blob)
        // One may take minutes, where checkpoints are to be computed: others don't wait for it.
        if (this.#opening === 0) this.#tell()
        else this.#timer ??= setTimeout(() => this.#tell(), TOGETHER_MS)
      })
  }

  #tell(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const found = this.#found
    this.#found = new Map()
    this.#onFound(found)
  }

  async #find(digest: Digest): Promise<LocalBlob | undefined> {
    const states = await this.#content.list(digest)
    const shared = states && (await this.#content.open(digest))
    if (states === undefined || shared === undefined) return undefined
    const { size, mediaType, access, repositories } = shared
    await shared.close()
    return storedBlob({ size, mediaType, access, repositories }, states, () => this.#content.open(digest))
  }
}
