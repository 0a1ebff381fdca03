import type { ContentSource } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { Holdings, type HoldingsEvents } from './holdings.ts'
import { Importer, type ImportTarget } from './import.ts'
import { LocalReads, type NamedElsewhere } from './reads.ts'
import { LocalRecords } from './records.ts'
import { OwnRegistry } from './registry.ts'
import { ImageRemover } from './remove-image.ts'
import { Sessions } from './sessions.ts'

interface LocalOptions {
  /** The name of this node's own registry. */
  readonly registry: string
  readonly store: BlobStore
  readonly metadata: Metadata
  readonly engine: Sha256Engine
  /** Told of blobs that were pushed here, where the records that name them are lost. */
  readonly onNameless?: (lost: { readonly blobs: number; readonly bytes: number }) => void
  /** What is cached of the registries that this node is a mirror of. */
  readonly upstream: Pick<ContentSource, 'held'>
  readonly events?: HoldingsEvents
  readonly elsewhere?: NamedElsewhere
}

/** The registry of this node itself; sets right what a crash has left. */
export async function openLocalRegistry(options: LocalOptions) {
  const { registry, store, metadata, engine, upstream, events, elsewhere, onNameless } = options
  const records = await LocalRecords.open(metadata)
  const holdings = new Holdings(store, records, events)
  const nameless = await holdings.reconcile()
  if (nameless.blobs > 0) onNameless?.(nameless)
  const local = new OwnRegistry({ registry, store, records, holdings, upstream })
  const newRepository = (name: string) => local.newRepository(name)
  const uploads = new Sessions({ store, records, holdings, engine, newRepository })
  await uploads.reconcile()
  return {
    local,
    records,
    uploads,
    reads: new LocalReads(store, records, elsewhere),
    holdings,
    remover: new ImageRemover({ store, records, holdings }),
    /** Takes archives, as pushes to a registry in front of it. */
    importer: (own: ImportTarget) => new Importer({ store, records, holdings, engine, own }),
    /** Ends uploads that were left, and forgets repositories without anything. */
    prune: async () => {
      await uploads.prune()
      await local.prune()
    },
  }
}
