import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import type { Digest } from '../proxy/oci/digest.ts'
import type { Metrics } from './admin/metrics.ts'
import type { Rules } from './rules.ts'
import type { BlobStore } from './store/blob-store.ts'
import type { BlobRecord, Metadata } from './store/metadata.ts'
import { scrub } from './store/scrub.ts'
import { keepBallast } from './store/start-room.ts'

interface House {
  readonly config: Pick<Config, 'dataDir' | 'store' | 'access'>
  readonly metadata: Metadata
  readonly store: BlobStore
  readonly metrics: Metrics
  readonly logger: Logger
  /** Looks after what else lies in the data directory, whenever its disk is looked at. */
  readonly onLook: () => Promise<void>
  /** Deletes what is old besides records and partial blobs. */
  readonly onPrune: () => Promise<void>
}

/** How often old records and partial blobs are deleted, in ms. */
const pruneInterval = 3_600_000

/** Tags that upstream has not confirmed for so long, in ms, are forgotten: 90 days. */
const tagLifetime = 90 * 86_400_000

/** Parts of blobs that nobody has gone on with for so long, in ms, are removed. */
const partialLifetime = 24 * 3_600_000

/** How often free space is looked at, in ms: other programs may fill a disk. */
const diskInterval = 5_000

/** What a node does beside serving, until the signal: it checks blobs on disk, deletes old records and watches the disk. */
export async function keepHouse(house: House, signal: AbortSignal): Promise<void> {
  await Promise.all([checkBlobs(house, signal), prune(house, signal), watchDisk(house, signal)])
}

async function checkBlobs({ config, store, metrics, logger }: House, signal: AbortSignal): Promise<void> {
  const rate = config.store.scrubRate
  if (rate === 0) return
  const onDamaged = (digest: Digest, { kept }: BlobRecord) => {
    metrics.damaged()
    const text = kept === true ? 'it was pushed to this node: push it again' : 'it is dropped and will be fetched again'
    logger.error({ digest }, `a blob on disk was damaged; ${text}`)
  }
  const onUnreadable = (digest: Digest, err: unknown) => {
    logger.error(
      { digest, err },
      'a blob on disk can not be read at present, and stays: look at the disk if this goes on',
    )
  }
  await scrub({ store, rate, onDamaged, onUnreadable }, signal)
}

async function watchDisk({ config, store, logger, onLook }: House, signal: AbortSignal): Promise<void> {
  let wasShort = false
  let wasRecordsShort = false
  while (!signal.aborted) {
    const before = store.usage.evictedBytes
    await store.makeRoom().catch((error: unknown) => logger.warn({ err: error }, 'no room could be made on the disk'))
    const { freeBytes, minFreeBytes, evictedBytes, unfreedBytes, isShort } = store.usage
    if (evictedBytes > before) {
      logger.info({ bytes: evictedBytes - before, freeBytes, minFreeBytes }, 'evicted blobs, as the disk fills up')
    }
    if (isShort && !wasShort) {
      const why =
        unfreedBytes > 0
          ? 'the disk is full, and has not freed what was evicted: a snapshot or an open file holds it'
          : 'others fill the disk, and nothing is left to evict'
      const text = `${why}: what is fetched is not kept until there is room`
      logger.error({ freeBytes, minFreeBytes, unfreedBytes }, text)
    } else if (wasShort && !isShort) logger.info({ freeBytes, minFreeBytes }, 'there is room on the disk again')
    wasShort = isShort
    const { records } = store.usage
    if (records?.isShort === true && !wasRecordsShort) {
      const text = `the disk of ${config.dataDir} is full, which is another one than that of its blobs: records are not written, and what is fetched may not be kept, until there is room on it`
      logger.error({ ...records }, text)
    } else if (wasRecordsShort && records?.isShort !== true)
      logger.info({ ...records }, 'there is room for records again')
    wasRecordsShort = records?.isShort === true
    const later = (err: unknown) => logger.debug({ err }, 'the data directory was not looked after; it is in a moment')
    const disk = records ?? { freeBytes, minFreeBytes, isShort }
    if (!disk.isShort) await keepBallast(config.dataDir, disk).catch(later)
    await onLook().catch(later)
    await delay(diskInterval, undefined, { signal, ref: false }).catch(() => {})
  }
}

async function prune({ config, store, metadata, logger, onPrune }: House, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const now = Date.now()
    await metadata.prune(now - config.access.offlineFor, now - tagLifetime).catch((error: unknown) => {
      logger.warn({ err: error }, 'old records could not be deleted')
    })
    await store.partials.prune(now - partialLifetime)
    await onPrune().catch((error: unknown) => logger.warn({ err: error }, 'old uploads could not be deleted'))
    await delay(pruneInterval, undefined, { signal, ref: false }).catch(() => {})
  }
}

/**
 * Removes what an earlier run has kept and the rules of this one do not allow: blobs and tags of repositories that are never
 * cached, and parts of blobs of repositories that are not fetched by chunks any more. So goes what nobody knows the repositories of.
 */
export async function applyRules(rules: Rules, { store, metadata }: Pick<House, 'store' | 'metadata'>): Promise<void> {
  if (rules.sharesAll) return
  await store.partials.dropUnless(
    ({ repositories }) => repositories.length > 0 && repositories.every((one) => rules.mayShare(one)),
  )
  if (rules.cachesAll) return
  for (const digest of store.digests()) {
    const { kept, repositories = [] } = store.record(digest) ?? {}
    if (kept !== true && !repositories.some((one) => rules.mayCache(one))) await store.remove(digest)
  }
  await metadata.dropTags(
    (reference) => !rules.mayCache(reference.slice(0, reference.indexOf(':', reference.indexOf('/')))),
  )
}
