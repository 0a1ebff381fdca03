import type { ContentSource } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { Holdings, type HoldingsEvents } from './holdings.ts'
import { LocalReads, type NamedElsewhere } from './reads.ts'
import { LocalRecords } from './records.ts'
import { OwnRegistry } from './registry.ts'
import { Sessions } from './sessions.ts'

interface LocalOptions {
  /** The name of this node's own registry. */
  readonly registry: string
  readonly store: BlobStore
  readonly metadata: Metadata
  readonly engine: Sha256Engine
  /** What is cached of the registries that this node is a mirror of. */
  readonly upstream: Pick<ContentSource, 'held'>
  readonly events?: HoldingsEvents
  readonly elsewhere?: NamedElsewhere
}

/** The registry of this node itself; sets right what a crash has left. */
export async function openLocalRegistry(options: LocalOptions) {
  const { registry, store, metadata, engine, upstream, events, elsewhere } = options
  const records = await LocalRecords.open(metadata)
  const holdings = new Holdings(store, records, events)
  await holdings.reconcile()
  const local = new OwnRegistry({ registry, store, records, holdings, upstream })
  const newRepository = (name: string) => local.newRepository(name)
  const uploads = new Sessions({ store, records, holdings, engine, newRepository })
  await uploads.reconcile()
  return {
    local,
    records,
    uploads,
    reads: new LocalReads(store, records, elsewhere),
    /** Ends uploads that were left, and forgets repositories without anything. */
    prune: async () => {
      await uploads.prune()
      await local.prune()
    },
  }
}
