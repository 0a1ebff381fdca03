import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../proxy/oci/digest.ts'

/** How long it is waited for that the store has what a reader has, in ms: syncing a large blob to a slow disk takes seconds. */
const storeTimeout = 10_000

/** How often it is looked for, in ms. */
const storeInterval = 25

/**
 * A reader may have all of a blob a moment before the store has.
 * @returns false where the store does not have it in time, as it could not be kept
 * @throws the signal's reason
 */
export async function untilStored(
  isStored: (digest: Digest) => boolean,
  digest: Digest,
  signal: AbortSignal,
): Promise<boolean> {
  const end = performance.now() + storeTimeout
  while (!isStored(digest)) {
    if (performance.now() > end) return false
    await delay(storeInterval, undefined, { signal })
  }
  return true
}
