/** All numbers that tune who gives which chunk to whom, who reads upstream, and when others are asked. */
export interface Numbers {
  /**
   * Chunks that a node receives, and chunks that it sends, at the same time, for all blobs together. With 2 half of a line is idle
   * while one pair parts; with 8 each chunk arrives later, and is passed on later. Both numbers are the same: with more sending
   * places than receiving ones, or fewer, nodes get unequal shares, and the last one waits (1.13 and 1.20 of the limit at 16 nodes).
   */
  readonly places: number
  /**
   * Receiving places of a node without a chunk, which has one more to send; each chunk that it holds adds one of both. With all at
   * once the first chunks come, and go on, late.
   */
  readonly startPlaces: number
  /** Parts in which a chunk is verified and passed on. Fewer make each hop longer; each one costs a checkpoint of 32 bytes. */
  readonly quarters: number
  /** Least time between two messages to a neighbour that only tell news, in ms. Half of it doubles messages; twice costs 0.5 to 1 %. */
  readonly newsMs: number
  /** How often within that time it is looked who is due. With 1 all are told at once, and then all ask at once. */
  readonly newsRounds: number
  /** Neighbours that a node seeks for a blob. With 8 chunks take more hops; with 24 there are a quarter more messages. */
  readonly soughtNeighbours: number
  /** A node with this many neighbours for a blob refuses more. Fewer leave late comers alone; more cost the early ones messages. */
  readonly mostNeighbours: number
  /** Chunks from the first missing one on that may be given. More make clients that read in order wait; fewer leave less choice. */
  readonly windowChunks: number
  /** Chunks held beyond a gap from which on one question asks for the oldest. More make such clients wait; fewer cost diversity. */
  readonly gapChunks: number
  /** Chunks after which a pair parts, on average. Pairs that part sooner leave gaps on the line; pairs that never part form cliques. */
  readonly stayChunks: number
  /**
   * A chunk without which the first answer is late, in ms, and the least time after which any is. With more, peers that send nothing
   * hold their places longer; with less, busy peers are called late, and chunks come twice.
   */
  readonly lateMs: number
  /** Mean deviations above the mean after which a chunk is late. Fewer call busy peers late; with more, slow ones hold a place longer. */
  readonly lateDeviations: number
  /** Weight of the newest time in the mean. A larger one follows each outlier; a smaller one is slow to see that a line is busy. */
  readonly meanWeight: number
  /** Weight of the newest time in the mean deviation. The same holds. */
  readonly deviationWeight: number
  /**
   * Silence, in ms, after which the head of a claim queue is raced against, a node without news of a blob calls itself hungry, and a
   * neighbour that had no place is asked all the same. With less, slow upstreams are read twice; with more, all wait for a dead head.
   */
  readonly headLateMs: number
  /** A node to which nothing new of a blob comes for this long, in ms, reads it without a turn. Less asks slow upstreams in vain. */
  readonly patienceMs: number
  /**
   * In an open swarm: how far strangers may fall behind upstream, in ms, up to half as much again by lot, before a node reads for
   * itself. With half of it, a slow registry is read half as much again by eight nodes; with twice, liars cost a pull a second more.
   */
  readonly arrearsMs: number
  /** They are forgotten this many times more slowly than they grow, while no blob is wanted. With less, liars cost each pull as much. */
  readonly arrearsMemory: number
  /** Neighbours that take this long for a chunk, in ms, are fast enough, however fast upstream is. With more, trickles pass for them. */
  readonly enoughMs: number
  /** How often a node tells the coordinator that it still takes part, in ms. Whoever misses three times is forgotten. */
  readonly renewMs: number
  /** Peers that a coordinator names in one answer. Below the number that is sought nodes ask again; above it are spare ones. */
  readonly named: number
}

export const NUMBERS: Numbers = {
  places: 4,
  startPlaces: 1,
  quarters: 4,
  newsMs: 100,
  newsRounds: 8,
  soughtNeighbours: 16,
  mostNeighbours: 40,
  windowChunks: 64,
  gapChunks: 16,
  stayChunks: 16,
  lateMs: 500,
  lateDeviations: 4,
  meanWeight: 1 / 8,
  deviationWeight: 1 / 4,
  headLateMs: 1_000,
  patienceMs: 2_000,
  arrearsMs: 1_000,
  arrearsMemory: 20,
  enoughMs: 250,
  renewMs: 3_000,
  named: 24,
}
