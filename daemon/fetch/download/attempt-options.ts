import type { ContentRequest } from '../../../proxy/ports.ts'
import type { PeerId } from '../../swarm/ports.ts'
import type { DownloadTools } from './context.ts'
import type { Reading } from './reader.ts'

/** What an attempt is given by its download, and tells it. */
export interface AttemptOptions {
  readonly tools: DownloadTools
  readonly request: ContentRequest
  /** Peers that are not to be used. */
  readonly excluded: Set<PeerId>
  /** Clients that read the blob at present. */
  readonly readings: ReadonlySet<Reading>
  /** Told when facts have changed. */
  readonly onNews: () => void
  /** Told when a chunk is held; from a peer, or from upstream where it is left out. */
  readonly onHeld: (chunk: number, from: PeerId | undefined) => void
  /** Told when a peer says that it holds a chunk. */
  readonly onHeard: (peer: PeerId, chunk: number) => void
  /** Told when chunks turned out not to fit, which clients may have got. */
  readonly onDropped: (chunks: readonly number[]) => void
  readonly signal: AbortSignal
}
