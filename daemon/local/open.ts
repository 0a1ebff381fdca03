import type { ContentSource, ListSource, TagResolver } from '../../proxy/ports.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { Holdings } from './holdings.ts'
import { Importer } from './import.ts'
import { joined } from './join.ts'
import { Pins } from './pins.ts'
import { LocalReads } from './reads.ts'
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
  /** Registries that this node is a mirror of. */
  readonly upstream: { readonly content: ContentSource; readonly tags: TagResolver; readonly lists: ListSource }
}

/** The registry of this node itself, and what it and the upstream ones are together; sets right what a crash has left. */
export async function openLocalRegistry({ registry, store, metadata, engine, upstream }: LocalOptions) {
  const records = await LocalRecords.open(metadata)
  const holdings = new Holdings(store, records)
  await holdings.reconcile()
  const local = new OwnRegistry({ registry, store, records, holdings, upstream: upstream.content })
  const newRepository = (name: string) => local.newRepository(name)
  const uploads = new Sessions({ store, records, holdings, engine, newRepository })
  await uploads.reconcile()
  const reads = new LocalReads(store, records)
  return {
    local,
    uploads,
    /** For those who may use the control socket. */
    managed: {
      records,
      pins: new Pins(records, holdings),
      remover: new ImageRemover({ store, records, holdings }),
      importer: new Importer({ store, records, holdings, engine, own: local }),
    },
    ...joined(registry, { content: reads, tags: reads, lists: reads }, upstream),
    /** Ends uploads that were left, and forgets repositories without anything. */
    prune: async () => {
      await uploads.prune()
      await local.prune()
    },
  }
}
