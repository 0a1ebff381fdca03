/** The middle value; of an even number of values, the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** The smallest value that at least the given share of all values does not exceed (nearest rank). */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

type Samples<Name extends string, T> = Record<Name, T[]>

/**
 * Measures contenders in turn, A B A B, so that whatever else the machine does meets all of them alike.
 *
 * @returns each contender's values; those with the same index were measured one right after the other.
 */
export async function interleave<Name extends string, T>(
  rounds: number,
  contenders: Readonly<Record<Name, (round: number) => Promise<T>>>,
): Promise<Samples<Name, T>> {
  const entries = Object.entries(contenders) as [Name, (round: number) => Promise<T>][]
  const samples = Object.fromEntries(entries.map(([name]) => [name, []])) as unknown as Samples<Name, T>
  for (let round = 0; round < rounds; round++) {
    for (const [name, measure] of entries) samples[name].push(await measure(round))
  }
  return samples
}
