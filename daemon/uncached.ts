import type { Digest } from '../proxy/oci/digest.ts'
import { StoreError } from './store/errors.ts'
import { isFullDisk } from './store/start-room.ts'

/**
 * - `disk`: the disk is full, or would be
 * - `quota`: the quota has no room
 * - `error`: it could not be written for another reason
 */
export const uncachedReasons = ['disk', 'quota', 'error'] as const
export type UncachedReason = (typeof uncachedReasons)[number]

/** A blob or manifest that was given to clients and not kept. */
export interface UncachedBlob {
  readonly digest: Digest
  readonly reason: UncachedReason
  readonly message: string
  /** ms since the epoch. */
  readonly at: number
}

interface UncachedOptions {
  readonly onUncached: (reason: UncachedReason) => void
  readonly logger: { warn(fields: object, message: string): void }
}

/** What could not be kept, and why: a node that keeps nothing must be told from one that works. */
export class Uncached {
  readonly #options: UncachedOptions
  #last: UncachedBlob | undefined

  constructor(options: UncachedOptions) {
    this.#options = options
  }

  /** The latest; undefined while all was kept. */
  get last(): UncachedBlob | undefined {
    return this.#last
  }

  note(digest: Digest, error: unknown): void {
    const reason = reasonOf(error)
    const message = error instanceof Error ? error.message : String(error)
    this.#last = { digest, reason, message, at: Date.now() }
    this.#options.onUncached(reason)
    this.#options.logger.warn({ digest, reason: message }, 'passing a blob through without storing it')
  }
}

function reasonOf(error: unknown): UncachedReason {
  if (isFullDisk(error) || (error instanceof StoreError && error.code === 'no-space')) return 'disk'
  return error instanceof StoreError && error.code === 'quota' ? 'quota' : 'error'
}
