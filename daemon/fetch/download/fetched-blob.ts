import type { FetchedBlob } from '../../share/local-blob.ts'
import type { Access, SharedBlob } from '../../swarm/ports.ts'
import type { Assembly } from './assembly.ts'
import type { BlobPeers } from './blob-peers.ts'
import type { DownloadFacts, DownloadTools } from './context.ts'
import { ToldList } from './told-list.ts'
import type { UpstreamReads } from './upstream-reads.ts'

interface FetchedBlobOptions {
  readonly tools: Pick<DownloadTools, 'self' | 'signer' | 'isClosed'>
  /** What is known of it at present. */
  readonly facts: () => DownloadFacts | undefined
  readonly assembly: () => Assembly | undefined
  readonly open: () => SharedBlob | undefined
  readonly peers: BlobPeers
  readonly upstream: Pick<UpstreamReads, 'read' | 'unread'>
}

/** A blob that is being fetched, as the swarm sees it. Peers are told of no private content but in a closed swarm. */
export function fetchedBlob({ tools, facts, assembly, open, peers, upstream }: FetchedBlobOptions): FetchedBlob {
  return {
    get facts() {
      const known = facts()
      if (known === undefined || !(known.public || tools.isClosed)) return undefined
      const access: Access = known.public ? 'public' : 'private'
      return { ...known, access }
    },
    list: new ToldList({
      assembly,
      self: tools.self,
      signer: tools.signer,
      holder: () => peers.holder,
      signed: () => peers.signed,
    }),
    open: async () => open(),
    introduced: (peer, told) => peers.introduced(peer, told),
    listed: (peer, from, states, signature) => peers.listed(peer, from, states, signature),
    told: (peer, chunk, isWhole) => peers.told(peer, chunk, isWhole),
    parted: (peer) => peers.parted(peer),
    headed: (head) => {
      peers.holder = head
    },
    take: (peer, quarter, bytes) => peers.take(peer, quarter, bytes),
    verifiable: (quarter) => peers.verifiable(quarter),
    read: (quarter) => upstream.read(quarter),
    unread: () => upstream.unread(),
  }
}
