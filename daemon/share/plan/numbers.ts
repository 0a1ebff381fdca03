/** All numbers that tune who gives which chunk to whom, who reads upstream, and when others are asked. */
export interface Numbers {
  /**
   * Chunks that a node receives, and chunks that it sends, at the same time, for all blobs together. With 2 a line is idle while
   * one pair is between two chunks. With 8 each chunk arrives later and is passed on later.
   */
  readonly places: number
  /** Receiving places of a node without a chunk; each chunk that it holds adds one. With all places at once the first chunks come late. */
  readonly startPlaces: number
  /** A chunk is verified and passed on in this many parts. With fewer each hop takes longer; each part costs a checkpoint of 32 bytes. */
  readonly quarters: number
  /** Shortest time between two messages of news to a neighbour, in ms. Below it messages cost CPU; above it choices are made blindly. */
  readonly newsMs: number
  /** How often within that time it is looked who is due. With 1 all are told at once, and all ask at once; above 8 nothing is gained. */
  readonly newsRounds: number
  /** Neighbours that a node seeks for a blob. Below 12 chunks take more hops and are rarer than they look; above 24 news costs more. */
  readonly soughtNeighbours: number
  /** A node with this many neighbours for a blob refuses more. Fewer leave late comers alone; more cost the early ones messages. */
  readonly mostNeighbours: number
  /** Chunks from the first missing one on that may be asked for. Below 16 there is too little to choose from; above it clients wait. */
  readonly windowChunks: number
  /** Held chunks beyond a gap from which on one question asks for the gap. Below it order costs time; above it clients wait. */
  readonly gapChunks: number
  /** Chunks after which a pair parts, on average. Pairs that part sooner leave gaps on the line; pairs that stay form cliques. */
  readonly stayChunks: number
  /** A chunk without which the first answer is late, in ms, and the least time after which any is. Less calls busy peers late. */
  readonly lateMs: number
  /** Mean deviations above the mean after which a chunk is late. With 2 chunks come twice; with 8 slow peers hold a place longer. */
  readonly lateDeviations: number
  /** Weight of the newest time in the mean. A larger one follows each outlier. */
  readonly meanWeight: number
  /** Weight of the newest time in the mean deviation. A smaller one calls chunks late when a line becomes busy. */
  readonly deviationWeight: number
  /** The head of the claim queue is raced against when it brings nothing for this long, in ms. Less reads slow upstreams twice. */
  readonly headLateMs: number
  /** A node to which nothing new of a blob comes for this long, in ms, reads it without a turn. Less asks slow upstreams in vain. */
  readonly patienceMs: number
  /** How often a node tells the coordinator that it still takes part, in ms. Who misses three times is forgotten. */
  readonly renewMs: number
  /** Peers that a coordinator names in one answer: those sought, and some that have left or refuse. */
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
  renewMs: 3_000,
  named: 24,
}
