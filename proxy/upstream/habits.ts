/** What was learned is forgotten after this time, in ms: registries are mended and replaced without telling us. */
const lifetime = 3_600_000

/** A failure that may pass says more when it comes again within this time, in ms. */
const suspicionLasts = 600_000

/** What happens again within this time, in ms, is the same moment's failure. */
const momentLasts = 30_000

/**
 * What a registry has shown that it does, each in a way that the same content could be had in another:
 * - `no-ranges`: it refuses a range, or answers with another one, of content that it gives whole
 * - `wrong-heads`: HEAD says no, or something else than GET
 * - `hides`: it answers 403 or 404 to the anonymous where it gives content for credentials
 * - `mislabels`: it gives bytes a `Content-Encoding` that they don't have
 */
export type Habit = 'no-ranges' | 'wrong-heads' | 'hides' | 'mislabels'

/** What is known of one registry, so that a try which failed before is not made again for each request. */
export class Habits {
  readonly #now: () => number
  readonly #until = new Map<Habit, number>()
  readonly #suspectedAt = new Map<Habit, number>()

  constructor(now: () => number) {
    this.#now = now
  }

  has(habit: Habit): boolean {
    return (this.#until.get(habit) ?? Number.NEGATIVE_INFINITY) > this.#now()
  }

  /** Something happened that a moment's failure explains as well: it is learned the second time. @returns whether it is news */
  suspect(habit: Habit): boolean {
    const now = this.#now()
    const age = now - (this.#suspectedAt.get(habit) ?? Number.NEGATIVE_INFINITY)
    if (age < momentLasts) return false
    this.#suspectedAt.set(habit, now)
    return age < suspicionLasts && this.learn(habit)
  }

  /** @returns whether it is news */
  learn(habit: Habit): boolean {
    const isNews = !this.has(habit)
    this.#until.set(habit, this.#now() + lifetime)
    return isNews
  }
}
