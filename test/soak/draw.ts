import { seededRandom } from '../sim/random.ts'

/** Draws from a seeded generator. Each use gets one of its own, so that none changes what another draws. */
export class Draw {
  readonly #random: () => number

  /** @param seed what is equal for equal runs, such as the run's seed and the name of the use */
  constructor(...seed: readonly (string | number)[]) {
    this.#random = seededRandom(hash(seed.join(' ')))
  }

  /** From `least` to below `most`. */
  between(least: number, most: number): number {
    return least + this.#random() * (most - least)
  }

  /** Sizes of which each power of two is as likely as any other. */
  logBetween(least: number, most: number): number {
    return Math.exp(this.between(Math.log(least), Math.log(most)))
  }

  /** From 0 to below `count`. */
  below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  chance(part: number): boolean {
    return this.#random() < part
  }

  /** A waiting time whose end does not depend on how long has been waited. */
  pause(mean: number): number {
    return -mean * Math.log(1 - this.#random())
  }

  one<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)]
    if (item === undefined) throw new Error('nothing to draw from')
    return item
  }

  weighted<T extends { readonly weight: number }>(items: readonly T[]): T {
    let left = this.between(
      0,
      items.reduce((sum, { weight }) => sum + weight, 0),
    )
    for (const item of items) {
      left -= item.weight
      if (left < 0) return item
    }
    return this.one(items)
  }

  shuffled<T>(items: readonly T[]): T[] {
    const rest = [...items]
    return items.map(() => rest.splice(this.below(rest.length), 1)[0] as T)
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0
  return value
}
