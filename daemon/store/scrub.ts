import { setTimeout as delay } from 'node:timers/promises'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../../proxy/oci/digest.ts'
import { DigestMismatch } from '../verify/mismatch.ts'
import type { BlobStore, StoredBlob } from './blob-store.ts'
import type { BlobRecord } from './metadata.ts'

interface ScrubOptions {
  readonly store: Pick<BlobStore, 'digests' | 'openUntouched' | 'drop'>
  /** Bytes a second that may be read. */
  readonly rate: number
  /** Told of a blob that was damaged, and is gone. */
  readonly onDamaged: (digest: Digest, record: BlobRecord) => void
  /** Told of a blob that can't be read at present, and stays. */
  readonly onUnreadable?: (digest: Digest, error: unknown) => void
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
export async function scrubOnce(options: ScrubOptions, signal: AbortSignal): Promise<void> {
  const { store, rate, onDamaged, onUnreadable } = options
  for (const digest of store.digests()) {
    if (signal.aborted) return
    // One that can't be opened has its turn in the next round, as too many files may be open.
    const blob = await store.openUntouched(digest).catch((error: unknown) => onUnreadable?.(digest, error))
    if (blob === undefined) continue
    try {
      await assertIntact(blob, digest, rate, signal)
    } catch (error) {
      if (signal.aborted) return
      if (await store.drop(digest, blob.record, error)) onDamaged(digest, blob.record)
      else onUnreadable?.(digest, error)
    } finally {
      await blob.close()
    }
  }
}

/** @throws {DigestMismatch}, and where it can't be read to its end */
async function assertIntact(blob: StoredBlob, digest: Digest, rate: number, signal: AbortSignal): Promise<void> {
  const hash = createDigestHash(algorithmOf(digest))
  for await (const chunk of blob.read(0, blob.record.size - 1, signal)) {
    hash.update(chunk)
    await pause((chunk.length / rate) * 1000, signal)
  }
  const actual = finishDigest(algorithmOf(digest), hash)
  if (actual !== digest) throw new DigestMismatch(digest, actual)
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => {})
}
