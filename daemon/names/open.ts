import type { Logger } from 'pino'
import type { Config } from '../../config/schema.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { canonicalRegistry } from '../../proxy/oci/name.ts'
import type { ContentSource, ListSource, PushRequest, TagResolver } from '../../proxy/ports.ts'
import { joined } from '../local/join.ts'
import { openLocalRegistry } from '../local/open.ts'
import { Pins } from '../local/pins.ts'
import type { LocalRecords } from '../local/records.ts'
import type { Rules } from '../rules.ts'
import type { ToldToPeers } from '../sharing.ts'
import type { Signer } from '../signature.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { Metadata } from '../store/metadata.ts'
import type { Swarm } from '../swarm/ports.ts'
import type { Sha256Engine } from '../verify/sha256.ts'
import { KeptNames } from './kept.ts'
import { SharedNames } from './names.ts'
import { trustOperations } from './operations.ts'
import { fetchParts as fetchPartsOf } from './parts.ts'
import { namedElsewhere, SharedReads } from './reads.ts'
import { SharedRegistry } from './registry.ts'
import { createStanding } from './standing.ts'
import { TrustedPeers } from './trust.ts'

interface NamesOptions {
  readonly config: Config
  readonly isClosed: boolean
  readonly metadata: Metadata
  readonly signer: Signer
  readonly rules: Pick<Rules, 'mayShare'>
  readonly swarm: () => Pick<Swarm, 'names'>
  readonly logger: Logger
}

/** Names of pushed images, as far as they are kept. */
export async function openNames({ config, isClosed, metadata, signer, rules, swarm, logger }: NamesOptions) {
  const { offerPushes, publishers, localName } = config.registry
  const registry = canonicalRegistry(localName)
  const kept = new KeptNames(metadata)
  const trust = await TrustedPeers.open(kept)
  const { allowedPeers } = config.swarm
  const isTrusted = trust.has.bind(trust)
  const standing = createStanding({ self: signer.self, isClosed, publishers, allowedPeers, isTrusted })
  const isOffered = offerPushes === 'always' || (offerPushes === 'closed' && isClosed)
  const mayShare = (repository: string) => rules.mayShare(`${registry}/${repository}`)
  const names = await SharedNames.open({
    signer,
    standing,
    kept,
    isOffered,
    mayShare,
    swarm: () => swarm().names,
    logger,
  })
  const operations = trustOperations({ names, trust, isClosed, publishers, logger })
  return { names, operations, registry, isOffered, isClosed, mayShare, logger }
}

type OpenNames = Awaited<ReturnType<typeof openNames>>

/** Repositories of this node's own registry that peers may know of. @param of those that have some content */
export function offeredPlaces(
  { registry, isOffered, mayShare }: Pick<OpenNames, 'registry' | 'isOffered' | 'mayShare'>,
  of: readonly string[],
): readonly string[] {
  return isOffered ? of.filter(mayShare).map((name) => `${registry}/${name}`) : []
}

interface SharedOptions {
  readonly open: OpenNames
  readonly store: BlobStore
  readonly metadata: Metadata
  readonly engine: Sha256Engine
  /** Registries that this node is a mirror of; its content is also that of peers. */
  readonly upstream: { readonly content: ContentSource; readonly tags: TagResolver; readonly lists: ListSource }
  readonly announcer: Pick<Swarm, 'advertise' | 'withdraw'>
  readonly told: ToldToPeers
  /** Told what this node's repositories have, before anything is read of them. */
  readonly onOpen: (records: LocalRecords) => void
}

const namelessText =
  'blobs were pushed to this node, and the records that name them are gone: stop the node and put back meta/ of its data directory, or push the images again; what has no name then goes at the next start'

/** The local registry with what peers have pushed, and what it and the upstream ones are together. */
export async function openSharedRegistry(options: SharedOptions) {
  const { open, store, metadata, engine, upstream, announcer, told, onOpen } = options
  const { names, registry, isOffered, isClosed, mayShare, logger } = open
  const peers = upstream.content
  const isTold = (digest: Digest) => {
    const record = store.record(digest)
    return record !== undefined && told(record, digest) !== undefined
  }
  const { local, records, uploads, reads, holdings, remover, importer, prune } = await openLocalRegistry({
    registry,
    store,
    metadata,
    engine,
    upstream: upstream.content,
    elsewhere: namedElsewhere(names, () => peers, registry),
    onNameless: (lost) => logger.error(lost, namelessText),
    events: {
      named: (digest) => {
        if (isTold(digest)) announcer.advertise(digest, true)
      },
      isShown: isTold,
      hidden: (digest) => announcer.withdraw(digest),
    },
  })
  onOpen(records)
  const isHere = (digest: Digest, name: string) =>
    store.record(digest)?.repositories.includes(`${registry}/${name}`) === true
  const shared = new SharedReads({ own: reads, peers, names, isHere })
  const isOfferedToAll = (name: string) => isOffered && !isClosed && mayShare(name)
  const isStored = (digest: Digest) => store.has(digest)
  const fetchParts = (request: PushRequest, manifest: Uint8Array) => {
    const { name, ...client } = request
    const keepBlob = (digest: Digest) => {
      const blob = { kind: 'blob', name, id: digest, value: true } as const
      return holdings.inTurn(() => holdings.addHeld(digest, [...local.newRepository(name), blob]))
    }
    const keepManifest = (digest: Digest, bytes: Uint8Array) =>
      local.putManifest(request, { bytes, contentType: undefined, digest, tags: [] })
    const options = { content: shared, isStored, keepBlob, keepManifest }
    return fetchPartsOf(options, { ...client, repository: { registry, name } }, manifest)
  }
  const own = new SharedRegistry({
    own: local,
    records,
    remover,
    names,
    fetchParts,
    isOfferedToAll,
    isTold,
    isClosed,
    logger,
  })
  // A full disk must not keep a node from starting.
  await own.reconcile().catch((error: unknown) => logger.warn({ err: error }, 'some names can not be published'))
  return {
    local: own,
    uploads,
    /** For those who may use the control socket. */
    managed: {
      records,
      pins: new Pins(records, holdings),
      remover: own,
      importer: importer(own),
      offers: () => names.offers(),
    },
    prune,
    ...joined(registry, { content: shared, tags: shared, lists: shared }, upstream),
  }
}
