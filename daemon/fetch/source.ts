import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentRequest } from '../../proxy/ports.ts'
import { withoutFirst } from '../../proxy/upstream/bytes.ts'
import type { Upstream } from '../../proxy/upstream/types.ts'
import { PeerError, type PeerId, type Swarm } from '../swarm/ports.ts'
import { type AccessControl, foundIn } from './access.ts'

/** Somebody who may have a blob: a peer or upstream. */
export interface BlobSource {
  readonly origin: 'peer' | 'upstream'
  /** For logs: a PeerId or a registry's name. */
  readonly name: string
  /** Starts a transfer at `offset`; aborting the signal ends it. @throws what says why the source can't give the blob */
  open(offset: number, signal: AbortSignal): Promise<SourceBody>
}

export interface SourceBody {
  /** Bytes of the whole blob, where the source says it. */
  readonly size: number | undefined
  readonly mediaType: string | undefined
  /** Whether anybody may have the blob. */
  readonly public: boolean
  /** From the offset to the end; a chunk is valid until the next one is asked for. */
  readonly body: AsyncIterable<Uint8Array>
}

/**
 * Content that upstream has sent us to another registry for, which gave it for what it knows the node by. It is the asker's in
 * this very request, and nobody else's: it is not kept.
 */
export class ForeignContent extends Error {
  constructor(registry: string) {
    super(`another registry than ${registry} gave it, for credentials of its own`)
    this.name = 'ForeignContent'
  }
}

/** @param mayBeForeign whether the content is for the asker alone, and kept nowhere */
export function upstreamSource(
  upstream: Upstream,
  access: AccessControl,
  request: ContentRequest,
  mayBeForeign: boolean,
): BlobSource {
  const { kind, digest, repository, authorization, isGuest } = request
  return {
    origin: 'upstream',
    name: repository.registry,
    open: async (offset, signal) => {
      const opened = await upstream.open({ kind, digest, repository, authorization, isGuest, offset, signal })
      const granted = await access.accepted({ ...request, signal }, opened.access)
      if (granted === 'foreign' && !mayBeForeign) throw new ForeignContent(repository.registry)
      const body = withoutFirst(offset - opened.start, opened.body)
      return { ...opened, body, public: granted === 'public' }
    },
  }
}

/** A peer, whose private content is taken only for those whom upstream lets have it. */
export function peerSource(
  swarm: Pick<Swarm, 'open'>,
  access: AccessControl,
  request: ContentRequest,
  peer: PeerId,
): BlobSource {
  return {
    origin: 'peer',
    name: peer,
    open: async (offset, signal) => {
      const opened = await swarm.open(peer, request.digest, { start: offset }, signal)
      if (opened.access === 'public') return { ...opened, public: true }
      const repository = repositoryText(request.repository)
      const granted = await access.check({ ...request, signal }, foundIn(request, opened.repositories))
      if (granted === undefined || granted === 'foreign') {
        throw new PeerError('absent', peer, `upstream did not confirm that ${repository} may be read`)
      }
      return { ...opened, public: granted === 'public' }
    },
  }
}
