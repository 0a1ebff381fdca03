import type { SignedName } from '../swarm/ports.ts'

/** What was said at some time. */
export type Said = Pick<SignedName, 'at' | 'repository' | 'reference'>

/** Room for a number of things, of which all who bring some have equal shares once it is full. */
export class Shares<Thing extends Said> {
  readonly #bound: number
  readonly #byTime: (a: Said, b: Said) => number
  readonly #of = new Map<string, Set<Thing>>()
  #size = 0

  /** @param byTime which of two things is older */
  constructor(bound: number, byTime: (a: Said, b: Said) => number) {
    this.#bound = bound
    this.#byTime = byTime
  }

  /** Whether somebody may bring one more: whoever has most already, only what is later than its oldest, which gives way. */
  admits(owner: string, thing: Said): boolean {
    if (this.#size < this.#bound) return true
    const own = this.#of.get(owner)
    if (own === undefined || own.size < this.#most().size) return true
    const oldest = this.#oldest(own)
    return oldest !== undefined && this.#byTime(thing, oldest) > 0
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
    return this.#oldest(this.#most())
  }

  #oldest(things: ReadonlySet<Thing>): Thing | undefined {
    let oldest: Thing | undefined
    for (const one of things) if (oldest === undefined || this.#byTime(one, oldest) < 0) oldest = one
    return oldest
  }

  #most(): ReadonlySet<Thing> {
    let most: ReadonlySet<Thing> = new Set()
    for (const things of this.#of.values()) if (things.size > most.size) most = things
    return most
  }
}
