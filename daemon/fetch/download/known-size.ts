/** Whose word on a size counts, the weakest first. Peers are not among them. */
const WITNESSES = ['left', 'manifest', 'upstream', 'proof'] as const

/**
 * - `left`: what an earlier fetch has left, which is kept only where the size was known
 * - `manifest`: one that a client got here
 * - `upstream`
 * - `proof`: the last quarter leads to the digest, and the size is part of what is hashed there
 */
export type SizeWitness = (typeof WITNESSES)[number]

/** The size of a blob by more than a peer's word. It outlives the attempts of a fetch, so none of them begins with a lie again. */
export class KnownSize {
  #bytes: number | undefined
  #by: SizeWitness | undefined

  /** @param described what a manifest says, if one was seen */
  constructor(described: number | undefined) {
    if (described !== undefined) this.hear(described, 'manifest')
  }

  /** Undefined while nobody but peers has told. */
  get bytes(): number | undefined {
    return this.#bytes
  }

  get by(): SizeWitness | undefined {
    return this.#by
  }

  /** Somebody says it. Of two that differ the stronger one is right, or the first of equals. */
  hear(bytes: number, by: SizeWitness): void {
    if (this.#by !== undefined && WITNESSES.indexOf(by) <= WITNESSES.indexOf(this.#by)) return
    this.#bytes = bytes
    this.#by = by
  }

  /** What an earlier fetch has left was of another size. */
  forgetLeft(): void {
    if (this.#by !== 'left') return
    this.#bytes = undefined
    this.#by = undefined
  }
}
