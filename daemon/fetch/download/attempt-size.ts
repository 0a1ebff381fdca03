import { UpstreamError } from '../../../proxy/upstream/types.ts'
import type { PeerId } from '../../swarm/ports.ts'
import { waitFor } from '../wait.ts'
import { LEARN_SIZE_MS, SEEK_SIZE_MS } from './constants.ts'
import { type Attempt, SizeConflict } from './context.ts'
import type { KnownSize } from './known-size.ts'
import type { Lies } from './lies.ts'

type Teller = PeerId | 'upstream' | 'left'

interface AttemptSizeOptions {
  readonly attempt: Attempt
  readonly known: KnownSize
  readonly lies: () => Pick<Lies, 'isWhole'>
  /** A peer is not used any more for this blob. */
  readonly onRefuted: (peer: PeerId) => void
}

/**
 * Who told the size of the blob that an attempt puts together, and whose word counts. In an open swarm a peer's word is enough to
 * begin with, and for nothing else: no client hears of it, and upstream's word takes its place.
 */
export class AttemptSize {
  readonly #options: AttemptSizeOptions
  readonly #saidBy = new Set<Teller>()
  /** Since when clients wait for a word that counts, in ms. */
  #soughtSince: number | undefined
  /** Upstream's answer; kept where there is no use in asking it again. */
  #asking: Promise<void> | undefined

  constructor(options: AttemptSizeOptions) {
    this.#options = options
  }

  /** Whether clients may be told: by whose word counts, or in a closed swarm by a member's. */
  get isSure(): boolean {
    const { assembly } = this.#options.attempt
    return assembly !== undefined && this.isSureOf(assembly.size)
  }

  /** The same of a size that the blob may have. */
  isSureOf(size: number): boolean {
    const { attempt, known } = this.#options
    return attempt.tools.isClosed || known.bytes === size || attempt.assembly?.isSizeProven === true
  }

  /** Whether it is more than what some peer says. */
  get isKnown(): boolean {
    const { assembly } = this.#options.attempt
    return assembly !== undefined && (this.#options.known.bytes === assembly.size || assembly.isSizeProven)
  }

  /** A source tells the size. @throws {SizeConflict} where its word does not count */
  hear(size: number, by: PeerId | 'upstream'): void {
    const { known, attempt } = this.#options
    const { isClosed, sizes } = attempt.tools
    if (by === 'upstream') known.hear(size, 'upstream')
    // Who told the size of what an earlier fetch has left is not known: a member of the swarm that lives goes before.
    else if (isClosed && known.bytes !== size) known.forgetLeft()
    if (known.bytes !== undefined && known.bytes !== size) throw new SizeConflict(size, known.bytes)
    if (known.bytes === undefined && by !== 'upstream' && !sizes.isBelieved(by)) throw new SizeConflict(size)
  }

  /** An earlier fetch has left a part of the blob. @returns whether it has the size that is known */
  resume(size: number): boolean {
    const { known } = this.#options
    known.hear(size, 'left')
    if (known.bytes !== size) return false
    this.saidBy('left')
    return true
  }

  /** The blob is put together with the size that somebody has told. */
  saidBy(teller: Teller): void {
    this.#saidBy.add(teller)
  }

  /** @returns whether the size that the blob is put together with is wrong, which ends the attempt */
  check(): boolean {
    const { known, attempt } = this.#options
    const { assembly } = attempt
    const isLeft =
      known.bytes === undefined && this.#saidBy.size > 0 && [...this.#saidBy].every((one) => one === 'left')
    const isWrong = isLeft || (known.bytes !== undefined && known.bytes !== assembly?.size)
    if (assembly === undefined || !isWrong || assembly.isSizeProven) return false
    this.refute()
    attempt.fail(new SizeConflict(assembly.size, known.bytes))
    return true
  }

  /** Somebody has shown by a quarter which size is right: what is there of another one is worth nothing. */
  proven(size: number): void {
    const { known } = this.#options
    if (known.by === 'upstream') return
    known.hear(size, 'proof')
    this.check()
  }

  /** What a peer said is worth nothing; so is the size, where nobody else told it. */
  distrust(peer: PeerId): void {
    const { attempt, onRefuted } = this.#options
    if (!this.#saidBy.delete(peer) || this.#saidBy.size > 0 || this.isKnown) return
    onRefuted(peer)
    attempt.fail(new SizeConflict(attempt.assembly?.size ?? 0))
  }

  /** The blob has another size than these peers say. Whoever said that it has the whole has lied. */
  refute(): void {
    const { attempt, lies, onRefuted } = this.#options
    for (const peer of this.#saidBy) {
      if (peer === 'upstream' || peer === 'left') continue
      attempt.tools.sizes.refuted(peer)
      onRefuted(peer)
      if (lies().isWhole(peer)) attempt.ban(peer, 'told a wrong size')
    }
    this.#saidBy.clear()
  }

  /** Clients wait, and only peers have told the size: upstream is asked what it says, which moves nothing. To be called often. */
  seek(): void {
    const now = performance.now()
    this.#soughtSince ??= now
    if (now - this.#soughtSince >= SEEK_SIZE_MS) this.#ask()
  }

  /** Only peers have told the size, and there is no room for more on their word: waits for what upstream says. */
  async learn(): Promise<void> {
    await waitFor(this.#ask(), LEARN_SIZE_MS, this.#options.attempt.signal)
  }

  #ask(): Promise<void> {
    const { tools, request, signal } = this.#options.attempt
    this.#asking ??= tools.upstream.stat({ ...request, signal }).then(
      ({ size }) => this.#answered(size),
      (error: unknown) => {
        if (!(error instanceof UpstreamError) || error.code !== 'unreachable') return
        // It may say it later, unless it has said no.
        this.#soughtSince = undefined
        this.#asking = undefined
      },
    )
    return this.#asking
  }

  #answered(size: number | undefined): void {
    const { attempt, known } = this.#options
    if (size === undefined || attempt.signal.aborted) return
    known.hear(size, 'upstream')
    if (!this.check()) attempt.news()
  }
}
