import { setTimeout as delay } from 'node:timers/promises'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../../proxy/oci/digest.ts'
import type { BlobStore } from './blob-store.ts'

interface ScrubOptions {
  readonly store: Pick<BlobStore, 'digests' | 'openUntouched' | 'remove'>
  /** Bytes a second that may be read. */
  readonly rate: number
  readonly onDamaged: (digest: Digest) => void
}

/** Pause between two rounds over all blobs, in ms. */
const roundPause = 60_000

/** Reads all blobs again and again at a settable pace, and drops those that no longer match their digest. */
export async function scrub(options: ScrubOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await scrubOnce(options, signal)
    await pause(roundPause, signal)
  }
}

/** One round over the blobs that are held when it starts. */
export async function scrubOnce({ store, rate, onDamaged }: ScrubOptions, signal: AbortSignal): Promise<void> {
  for (const digest of store.digests()) {
    if (signal.aborted) return
    if (await isIntact(store, digest, rate, signal)) continue
    onDamaged(digest)
    await store.remove(digest)
  }
}

async function isIntact(
  store: ScrubOptions['store'],
  digest: Digest,
  rate: number,
  signal: AbortSignal,
): Promise<boolean> {
  // Where too many files are open, the blob has its turn in the next round.
  const blob = await store.openUntouched(digest).catch(() => undefined)
  if (blob === undefined) return true
  try {
    const hash = createDigestHash(algorithmOf(digest))
    for await (const chunk of blob.read(0, blob.record.size - 1, signal)) {
      hash.update(chunk)
      await pause((chunk.length / rate) * 1000, signal)
    }
    return finishDigest(algorithmOf(digest), hash) === digest
  } catch {
    // An error while reading is damage too, and dropping a blob is always safe: it is fetched again.
    return signal.aborted
  } finally {
    await blob.close()
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => {})
}
