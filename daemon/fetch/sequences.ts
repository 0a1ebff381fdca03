import { maxManifestBytes } from '../../proxy/oci/manifest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { ContentInfo, ContentRequest } from '../../proxy/ports.ts'
import type { Upstream } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { PeerId, Swarm } from '../swarm/ports.ts'
import type { AccessControl } from './access.ts'
import { messageOf } from './errors.ts'
import type { Publicity } from './publicity.ts'
import { Sequence } from './sequence.ts'
import { type BlobSource, peerSource, upstreamSource } from './source.ts'
import type { ToldSizes } from './told-sizes.ts'

interface SequencesOptions {
  readonly swarm: Pick<Swarm, 'providers' | 'open'>
  readonly upstream: Upstream
  readonly access: AccessControl
  readonly publicity: Pick<Publicity, 'mayTell'>
  readonly rules: Pick<Rules, 'mayShare'>
  readonly isClosed: boolean
  readonly lookupTimeout: number
  readonly onFetched: (origin: BlobSource['origin'], bytes: number) => void
  readonly logger: { debug(facts: object, message: string): void }
}

/** What is read from one source at a time, from beginning to end: peers first, where they may hear of it, and then upstream. */
export class Sequences {
  readonly #options: SequencesOptions
  readonly #sizes: Pick<ToldSizes, 'of'>

  constructor(options: SequencesOptions, sizes: Pick<ToldSizes, 'of'>) {
    this.#options = options
    this.#sizes = sizes
  }

  /**
   * @param excluded peers that are not asked
   * @param onFacts told what the source that was opened says
   * @param isForAsker whether it goes to whoever asks for it alone
   */
  of(
    request: ContentRequest,
    excluded: ReadonlySet<PeerId>,
    onFacts: (facts: ContentInfo & { public: boolean }) => void,
    isForAsker = false,
  ): Sequence {
    const { upstream, access, rules, lookupTimeout, isClosed, onFetched, logger } = this.#options
    // Nothing proves the length of such content before its end: clients of an open swarm are told no stranger's word.
    const sizeOf = ({ origin }: BlobSource, { size }: { readonly size: number | undefined }) =>
      origin === 'upstream' || isClosed || size === this.#sizes.of(request.digest) ? size : undefined
    const isShared = rules.mayShare(repositoryText(request.repository))
    return new Sequence({
      peers: isShared ? (signal) => this.#peers(request, excluded, signal) : async function* () {},
      upstream: upstreamSource(upstream, access, request, isForAsker),
      lookupTimeout,
      upstreamFirst: excluded.size > 0,
      maxBytes: request.kind === 'manifest' ? maxManifestBytes : Number.MAX_SAFE_INTEGER,
      onOpen: (source, body) => {
        const { mediaType, public: isPublic } = body
        onFacts({ size: sizeOf(source, body), mediaType, origin: source.origin, public: isPublic })
      },
      onBytes: ({ origin }, bytes) => onFetched(origin, bytes),
      onFailure: ({ name }, error) =>
        logger.debug({ digest: request.digest, source: name, reason: messageOf(error) }, 'source failed'),
    })
  }

  async *#peers(
    request: ContentRequest,
    excluded: ReadonlySet<PeerId>,
    signal: AbortSignal,
  ): AsyncGenerator<BlobSource> {
    const { swarm, access, publicity } = this.#options
    if (!(await publicity.mayTell({ ...request, signal }))) return
    for await (const peer of swarm.providers(request.digest, signal)) {
      if (!excluded.has(peer)) yield peerSource(swarm, access, request, peer)
    }
  }
}
