import { join } from 'node:path'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { BlobStore, type BlobStoreEvents } from './store/blob-store.ts'
import { Metadata } from './store/metadata.ts'
import { openWithRoom } from './store/start-room.ts'

/** How often the log says that files can't be deleted, in ms: on a disk that can only be read it is so for each of them. */
const stuckLogInterval = 600_000

interface OpenStoreOptions {
  readonly config: Pick<Config, 'dataDir' | 'store'>
  readonly events: BlobStoreEvents
  readonly logger: Logger
}

/** The store as the configuration has it, and its records; also on a full disk. Both are closed by the caller, the store first. */
export async function openStore(options: OpenStoreOptions): Promise<{ store: BlobStore; metadata: Metadata }> {
  const { dataDir } = options.config
  return await openWithRoom(
    dataDir,
    () => open(options),
    (bytes) => options.logger.warn({ bytes }, 'the disk is full: blobs were removed until the store could be opened'),
  )
}

async function open({ config, events, logger }: OpenStoreOptions): Promise<{ store: BlobStore; metadata: Metadata }> {
  const { dataDir, store: settings } = config
  const metadata = await Metadata.open(join(dataDir, 'meta'), (error) =>
    logger.warn({ err: error }, 'a record could not be written'),
  )
  try {
    const { maxSize: maxBytes, minFree } = settings
    const onFoldersLost = (folders: readonly string[], problem: string | undefined) => {
      const text = 'folders were removed while the node runs; they are made anew, and what was in them is fetched again'
      logger.error({ folders }, problem ?? text)
    }
    let stuckAt = Number.NEGATIVE_INFINITY
    const onStuck = (err: Error) => {
      if (performance.now() - stuckAt < stuckLogInterval) return
      stuckAt = performance.now()
      logger.error({ err }, 'a file of the store can not be deleted: no room is made until it can')
    }
    const options = { dataDir, metadata, maxBytes, minFree, events, onFoldersLost, onStuck }
    return { store: await BlobStore.open(options), metadata }
  } catch (error) {
    await metadata.close().catch(() => {})
    throw error
  }
}
