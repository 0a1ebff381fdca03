import type { PeerId } from '../../swarm/ports.ts'
import { type ChunkVerdict, checkChunk, divergence } from '../../verify/check-chunk.ts'
import type { Checkpoints, ClaimedCheckpoints } from '../../verify/checkpoints.ts'
import { chunkBytes, chunkLength } from '../../verify/chunk.ts'
import type { Assembly } from './assembly.ts'
import type { Attempt } from './context.ts'

/** How long a peer may take to give the one chunk that decides, in ms. */
const evidenceLimit = 10_000

interface LiesOptions {
  readonly attempt: Attempt
  /** Nothing is asked of a peer for a while, and what is under way from it is cancelled. */
  readonly onSuspect: (peer: PeerId) => void
  /** A peer has lied. */
  readonly onCaught: (peer: PeerId, reason: string) => void
  /** The list was cut or replaced: what peers have told may go on from there. */
  readonly onListChanged: () => void
}

/**
 * Finds out who lies when something does not fit. A chunk that does not fit its list is wrong, or the list is: the same chunk
 * from who told the list decides, because nobody has a chunk that fits a false link. Costs a chunk each time.
 */
export class Lies {
  readonly #options: LiesOptions
  /** Who gave a chunk that did not fit, where who told the list could not be asked. */
  readonly #suspects = new Map<number, Set<PeerId>>()
  /** Who told other checkpoints than those of what upstream sends. */
  readonly #accused = new Set<PeerId>()
  /** One after the other: each may change the list. */
  #investigations: Promise<void> = Promise.resolve()

  constructor(options: LiesOptions) {
    this.#options = options
  }

  /** A peer's chunk did not fit. */
  wrongChunk(peer: PeerId, chunk: number, assembly: Assembly): void {
    const { attempt, onSuspect, onCaught } = this.#options
    attempt.tools.onWasted('wrong', chunkLength(chunk, assembly.size))
    const author = assembly.authorOf(chunk)
    const reason = `sent a wrong chunk ${chunk}`
    if (author === 'self' || author === undefined) {
      // The list is what upstream's bytes gave, or there is nothing in it but the digest.
      onCaught(peer, reason)
    } else if (author === 'left') {
      this.#cut(assembly, 'left')
    } else if (author === peer) {
      this.#cut(assembly, author)
      onCaught(author, 'told false checkpoints')
    } else {
      onSuspect(peer)
      const suspects = this.#suspects.get(chunk) ?? new Set()
      this.#suspects.set(chunk, suspects.add(peer))
      this.#investigate(async () => {
        const verdict = await this.#ask(author, assembly.list, chunk)
        if (verdict === 'fits') this.fits(chunk, author)
        if (verdict === 'wrong' || (verdict === 'unknown' && suspects.size > 1)) {
          // Two that agree against a list whose teller can't be asked: it is given up, but nobody is caught.
          this.#suspects.delete(chunk)
          this.#cut(assembly, author)
          if (verdict === 'wrong') onCaught(author, 'told false checkpoints')
        }
      })
    }
  }

  /** A chunk fits: who brought another one for it has lied. */
  fits(chunk: number, by: PeerId | 'upstream'): void {
    const suspects = this.#suspects.get(chunk)
    if (suspects === undefined) return
    this.#suspects.delete(chunk)
    for (const peer of suspects) if (peer !== by) this.#options.onCaught(peer, `sent a wrong chunk ${chunk}`)
  }

  /** A peer's checkpoints are not those of what upstream sends; once that is proven, it is clear who was right. */
  accuse(peer: PeerId): void {
    this.#accused.add(peer)
  }

  /** The blob is proven, by upstream's bytes where peers said something else. */
  judge(): void {
    for (const peer of this.#accused) this.#options.onCaught(peer, 'told false checkpoints')
  }

  /** Two complete lists differ: the one chunk that shows which is false is fetched from both sides. */
  dispute(teller: PeerId, theirs: ClaimedCheckpoints, author: PeerId, assembly: Assembly): void {
    this.#investigate(async () => {
      const ours = assembly.list.complete()
      const chunk = ours === undefined ? undefined : divergence(ours, theirs)
      if (ours === undefined || chunk === undefined) return
      const [ofAuthor, ofTeller] = await Promise.all([this.#ask(author, ours, chunk), this.#ask(teller, theirs, chunk)])
      const { attempt, onCaught } = this.#options
      if (ofAuthor === 'wrong') {
        attempt.dropped(assembly.replace(theirs, teller))
        onCaught(author, 'told false checkpoints')
      }
      if (ofTeller === 'wrong') onCaught(teller, 'told false checkpoints')
    })
  }

  #investigate(work: () => Promise<void>): void {
    this.#investigations = this.#investigations.then(work).catch(() => {})
  }

  #cut(assembly: Assembly, author: PeerId | 'left'): void {
    this.#options.attempt.dropped(assembly.cut(author))
    this.#options.onListChanged()
  }

  /** Fetches a chunk from a peer, and checks it along a list; `unknown` where it can't be had. */
  async #ask(peer: PeerId, list: Checkpoints, chunk: number): Promise<ChunkVerdict> {
    const { tools, request, signal } = this.#options.attempt
    const start = chunk * chunkBytes
    const bytes = Buffer.alloc(chunkLength(chunk, list.size))
    const limited = AbortSignal.any([signal, AbortSignal.timeout(evidenceLimit)])
    try {
      const range = { start, end: start + bytes.length - 1 }
      const { body } = await tools.swarm.open(peer, request.digest, range, limited)
      let received = 0
      for await (const piece of body) {
        bytes.set(piece, received)
        received += piece.length
      }
      return await checkChunk(tools.engine, list, chunk, bytes)
    } catch {
      return 'unknown'
    }
  }
}
