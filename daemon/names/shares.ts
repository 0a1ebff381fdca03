/** Room for a number of things, of which all who bring some have equal shares once it is full. */
export class Shares<Thing> {
  readonly #bound: number
  /** What each has brought, the oldest first. */
  readonly #of = new Map<string, Set<Thing>>()
  #size = 0

  constructor(bound: number) {
    this.#bound = bound
  }

  /** Whether somebody may bring one more: not whoever has most already, as that would give way to itself. */
  admits(owner: string): boolean {
    if (this.#size < this.#bound) return true
    return (this.#of.get(owner)?.size ?? 0) < this.#most().size
  }

  add(owner: string, thing: Thing): void {
    this.#of.set(owner, (this.#of.get(owner) ?? new Set()).add(thing))
    this.#size++
  }

  remove(owner: string, thing: Thing): void {
    const things = this.#of.get(owner)
    if (things?.delete(thing) !== true) return
    this.#size--
    if (things.size === 0) this.#of.delete(owner)
  }

  /** What has to give way: the oldest of whoever has most. Undefined while there is room. */
  excess(): Thing | undefined {
    if (this.#size <= this.#bound) return undefined
    const [oldest] = this.#most()
    return oldest
  }

  #most(): ReadonlySet<Thing> {
    let most: ReadonlySet<Thing> = new Set()
    for (const things of this.#of.values()) if (things.size > most.size) most = things
    return most
  }
}
