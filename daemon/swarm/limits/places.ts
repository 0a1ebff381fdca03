interface PlacesOptions {
  /** Places for all together. */
  readonly limit: number
  /** Whoever has not moved for longer may lose its place, in ms; nobody does where it is left out. */
  readonly patienceMs?: number | undefined
  /** Which one of an owner with too many loses its place: the one that came first, or last. */
  readonly gives: 'first' | 'last'
  /** For tests. */
  readonly now?: (() => number) | undefined
}

/** A place that was taken. */
export interface Place {
  /** It is of use to its owner right now. */
  moved(): void
  /** It does not move for a reason that is not its owner's, until {@link moved}. */
  rests(): void
  /** Gives it back; may be called more than once. */
  leave(): void
}

interface Taken {
  /** Whose it is, from the widest to the narrowest: network, address, peer. */
  readonly owners: readonly string[]
  /** Ends what has the place. */
  readonly cut: () => void
  movedAt: number
}

/**
 * A bounded number of places, shared by those who want them. While some are free, anybody may have any number. When all are taken,
 * whoever has fewer takes one from the owner that has most (max-min fairness), until they differ by one. Owners are compared level by
 * level. So nobody can keep others out by taking many, and hundreds of nodes behind one address need no exception.
 */
export class Places {
  readonly #options: PlacesOptions
  readonly #now: () => number
  /** The one that was taken first, first. */
  readonly #taken = new Set<Taken>()

  constructor(options: PlacesOptions) {
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
  }

  get size(): number {
    return this.#taken.size
  }

  /** How many places an owner has. @param level at which it is compared, 0 for the widest */
  countOf(owner: string, level: number): number {
    let count = 0
    for (const { owners } of this.#taken) if (owners[level] === owner) count++
    return count
  }

  /**
   * Takes a place; undefined where there is none for this owner now.
   * @param owners from the widest to the narrowest, the same number for all
   * @param cut ends what has the place, for somebody else
   */
  take(owners: readonly string[], cut: () => void): Place | undefined {
    if (this.#taken.size >= this.#options.limit) {
      const loser = this.#stale() ?? this.#excess(owners)
      if (loser === undefined) return undefined
      this.#taken.delete(loser)
      loser.cut()
    }
    const taken: Taken = { owners, cut, movedAt: this.#now() }
    this.#taken.add(taken)
    return {
      moved: () => {
        taken.movedAt = this.#now()
      },
      rests: () => {
        taken.movedAt = Number.POSITIVE_INFINITY
      },
      leave: () => this.#taken.delete(taken),
    }
  }

  /** The one that has not moved for longest, if that is too long. */
  #stale(): Taken | undefined {
    const { patienceMs = Number.POSITIVE_INFINITY } = this.#options
    let stalest: Taken | undefined
    for (const taken of this.#taken) if (stalest === undefined || taken.movedAt < stalest.movedAt) stalest = taken
    return stalest !== undefined && this.#now() - stalest.movedAt > patienceMs ? stalest : undefined
  }

  /** A place of whoever has most, where that is at least two more than the newcomer has. */
  #excess(newcomer: readonly string[]): Taken | undefined {
    let candidates = [...this.#taken]
    let isOwn = true
    let isFound = false
    for (const [level, own] of newcomer.entries()) {
      const counts = new Map<string, number>()
      for (const { owners } of candidates) counts.set(owners[level] ?? '', (counts.get(owners[level] ?? '') ?? 0) + 1)
      const ownCount = isOwn ? (counts.get(own) ?? 0) : 0
      const [most, count] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one), ['', 0])
      // Within what is not the newcomer's, or is its own in any case, one level narrower decides.
      isFound ||= isOwn && count - ownCount >= 2
      const narrower: string = isFound ? most : own
      isOwn &&= narrower === own
      candidates = candidates.filter(({ owners }) => owners[level] === narrower)
    }
    if (!isFound) return undefined
    return this.#options.gives === 'first' ? candidates[0] : candidates.at(-1)
  }
}
