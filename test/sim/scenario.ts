/** What is simulated. Times are in ms, rates in Mbit/s. */
export interface Scenario {
  readonly seed: number
  readonly nodes: number
  /** Chunks of the layers, in turn. */
  readonly chunks: readonly number[]
  /** Layers that every node fetches at once. */
  readonly layers: number
  readonly chunkBytes: number
  /** Rates of nodes, in turn; each way. */
  readonly rates: readonly number[]
  /** 0 for an upstream that can't be reached. */
  readonly upstream: number
  /** What part of upstream's line connections for each layer get, in turn: TCP shares it unequally. */
  readonly shares: readonly number[]
  /** Until the first byte of an answer from upstream. */
  readonly upstreamDelay: number
  readonly roundTrip: number
  /** Nodes begin at random within this time. */
  readonly spread: number
  /** How many nodes have another rate; they are the first to ask. */
  readonly slow: { readonly nodes: number; readonly rate: number }
  /** Nodes that have everything at the start. */
  readonly seeds: number
  /** Peers that say they have everything, and send wrong bytes. */
  readonly liars: number
  /** Peers that say they have everything, accept requests and send nothing. */
  readonly stallers: number
  /** The part of the nodes that vanishes at random times, each replaced by a new one. */
  readonly churn: number
  /** The holder vanishes when it has this part of a layer; undefined for never. */
  readonly killHolder: number | undefined
  /** Whether who vanishes does so without its connections being reset. */
  readonly isSilent: boolean
  /** Ms after which the simulation is given up. */
  readonly limit: number
}

export const plainScenario: Scenario = {
  seed: 1,
  nodes: 8,
  chunks: [256],
  layers: 1,
  chunkBytes: 1024 * 1024,
  rates: [100],
  upstream: 100,
  shares: [1],
  upstreamDelay: 20,
  roundTrip: 1,
  spread: 20,
  slow: { nodes: 0, rate: 5 },
  seeds: 0,
  liars: 0,
  stallers: 0,
  churn: 0,
  killHolder: undefined,
  isSilent: false,
  limit: 3_600_000,
}

/** Bytes a ms. */
export function bytesPerMs(rate: number): number {
  return (rate * 1_000_000) / 8 / 1000
}

/** Chunks of one layer. */
export function chunksOf({ chunks }: Scenario, layer: number): number {
  return inTurn(chunks, layer)
}

/** The `index`th of what is given for some of them, in turn. */
export function inTurn(values: readonly number[], index: number): number {
  return values[index % values.length] ?? 0
}

/** Of all layers. */
export function contentBytes(scenario: Scenario): number {
  let chunks = 0
  for (let layer = 0; layer < scenario.layers; layer++) chunks += chunksOf(scenario, layer)
  return chunks * scenario.chunkBytes
}

/** The time in ms in which nobody could do better: the larger of what upstream, one downlink and all uplinks take. */
export function fluidLimit(scenario: Scenario, rates: readonly number[]): number {
  const size = contentBytes(scenario)
  const seeded = scenario.seeds * bytesPerMs(scenario.rates[0] ?? 0)
  const source = bytesPerMs(scenario.upstream) + seeded
  const all = rates.reduce((sum, rate) => sum + bytesPerMs(rate), 0)
  const slowest = Math.min(...rates.map(bytesPerMs))
  return Math.max(size / source, size / slowest, (rates.length * size) / (source + all))
}
