/** Things by number, the smallest first; of equal ones the one that came first, so that every run is the same. */
export class Heap<T> {
  readonly #keys: number[] = []
  readonly #orders: number[] = []
  readonly #things: T[] = []
  #order = 0

  get size(): number {
    return this.#things.length
  }

  /** The smallest number; infinity where there is nothing. */
  get least(): number {
    return this.#keys[0] ?? Number.POSITIVE_INFINITY
  }

  clear(): void {
    this.#keys.length = 0
    this.#orders.length = 0
    this.#things.length = 0
  }

  push(key: number, thing: T): void {
    let at = this.#things.length
    const order = this.#order++
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isBefore(key, order, parent)) break
      this.#move(parent, at)
      at = parent
    }
    this.#put(at, key, order, thing)
  }

  pop(): T | undefined {
    const top = this.#things[0]
    const key = this.#keys.pop()
    const order = this.#orders.pop()
    const thing = this.#things.pop()
    const size = this.#things.length
    if (size === 0 || key === undefined || order === undefined || thing === undefined) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= size) break
      if (child + 1 < size && this.#isBefore(this.#keys[child + 1] ?? 0, this.#orders[child + 1] ?? 0, child)) child++
      if (this.#isBefore(key, order, child)) break
      this.#move(child, at)
      at = child
    }
    this.#put(at, key, order, thing)
    return top
  }

  #isBefore(key: number, order: number, other: number): boolean {
    const otherKey = this.#keys[other] ?? 0
    return key < otherKey || (key === otherKey && order < (this.#orders[other] ?? 0))
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#keys[from] ?? 0, this.#orders[from] ?? 0, this.#things[from] as T)
  }

  #put(at: number, key: number, order: number, thing: T): void {
    this.#keys[at] = key
    this.#orders[at] = order
    this.#things[at] = thing
  }
}
