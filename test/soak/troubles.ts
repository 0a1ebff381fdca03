/** Upstream, beside the nodes' names. */
export const UPSTREAM = 'upstream'

/** Who has a fault at present, and since when nobody has had one: faults may overlap, and the end of each is a new beginning. */
export class Troubles {
  readonly #open = new Map<string, Map<number, string>>()
  readonly #endedAt = new Map<string, number>()

  begin(who: string, fault: number, kind: string): void {
    const open = this.#open.get(who) ?? new Map<number, string>()
    this.#open.set(who, open.set(fault, kind))
  }

  end(who: string, fault: number, now: number): void {
    this.#open.get(who)?.delete(fault)
    this.#endedAt.set(who, now)
  }

  /** Kinds of the faults that last. */
  of(who: string): readonly string[] {
    return [...(this.#open.get(who)?.values() ?? [])]
  }

  /** ms since the last fault ended; 0 while one lasts, and infinite where there was none. */
  wellFor(who: string, now: number): number {
    if (this.of(who).length > 0) return 0
    return now - (this.#endedAt.get(who) ?? Number.NEGATIVE_INFINITY)
  }

  /** Whether none of these had a fault from some time on, and that long before. */
  wereWell(whose: readonly string[], from: number, before: number, now: number): boolean {
    return whose.every((who) => this.wellFor(who, now) >= now - from + before)
  }
}
