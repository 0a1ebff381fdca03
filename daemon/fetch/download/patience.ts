import type { LinePace } from '../../swarm/session/line-pace.ts'
import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import {
  ALONE_MS,
  DESPERATE_CHUNKS,
  DESPERATE_LIMIT_MS,
  DESPERATE_MS,
  DESPERATE_PEERS,
  FAIR_SHARES,
  FOLLOW_PATIENCE_MS,
  SLOW_LINE_MS,
  TAKEN_LIMIT_MS,
} from './constants.ts'

interface PatienceOptions {
  /** Of this node's line, over which other blobs come, too. */
  readonly pace: Pick<LinePace, 'bytes' | 'chunkMs'>
  /** 0 up to 1. */
  readonly random?: () => number
  /** ms of any clock that does not go back. */
  readonly now?: () => number
}

/** How far a fetch has come. */
export interface Progress {
  /** That peers have sent so far: where links are slow a chunk may take long, but it comes. */
  readonly bytes: number
  /** Peers that take part: the more there are, the longer the first of them needs to have a chunk for all. */
  readonly peers: number
  /** What a chunk takes from upstream to the one who fetches it, in ms; 0 where that is not known. */
  readonly upstreamMs: number
}

/**
 * Whether peers bring a blob further, or upstream is to be asked whoever has the claim. It is not asked what peers say that they
 * have, or whether something is under way: who is always busy, or sends a byte now and then, says and does a lot.
 */
export class Patience {
  readonly #now: () => number
  readonly #pace: PatienceOptions['pace']
  /** Not the same for all: the first node that loses patience has chunks for the others. 0 up to 1. */
  readonly #part: number
  #since: number
  #bytesBefore = 0
  #lineBefore: number
  #isOver = false
  #isLongOver = false
  #chunks = 1

  constructor({ pace, random = Math.random, now = () => performance.now() }: PatienceOptions) {
    this.#now = now
    this.#pace = pace
    this.#lineBefore = pace.bytes
    this.#part = random()
    this.#since = now()
  }

  /** How long no chunk came, in ms. */
  get #silence(): number {
    return this.#now() - this.#since
  }

  /** Whether it was lost; until a peer brings a chunk. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whether it was lost so long ago that nobody is asked any more who comes first; until a peer brings a chunk. */
  get isLongOver(): boolean {
    return this.#isLongOver
  }

  /**
   * Whether nothing is expected of peers any more, even where nobody else can give it. Where many requests share a thin line, the first
   * chunk takes them minutes, and all the bytes come.
   * @param bytes that peers have sent so far
   */
  isHopeless(bytes: number): boolean {
    const silence = this.#silence
    if (!this.#isOver || silence <= FOLLOW_PATIENCE_MS) return false
    return this.#areFew(bytes, (chunkBytes * silence) / ALONE_MS) || silence > 2 * ALONE_MS
  }

  /**
   * How many chunks upstream may be asked for at once. Few at first, so that a node leaves upstream to others as soon as peers go on:
   * if all of a fleet went there for all that they lack, none would get a chunk in time, and all would stay there.
   */
  get chunks(): number {
    return this.#chunks
  }

  /** A chunk is held. @param bytes that peers have sent so far */
  held(bytes: number, isFromPeer: boolean): void {
    this.#since = this.#now()
    this.#bytesBefore = bytes
    this.#lineBefore = this.#pace.bytes
    this.#isLongOver &&= !isFromPeer
    if (isFromPeer) this.#isOver = false
    this.#chunks = this.#isOver ? Math.min(this.#chunks * 2, DESPERATE_CHUNKS) : 1
  }

  /** To be called often. */
  look({ bytes, peers, upstreamMs }: Progress): void {
    const silence = this.#silence
    if (silence > ALONE_MS * (1 + this.#part)) this.#isLongOver = true
    const spread = Math.min(Math.max(peers, DESPERATE_PEERS / 4), DESPERATE_PEERS) / (DESPERATE_PEERS / 2)
    // If all asked upstream, each would have a chunk after as many times what it takes now; that is what peers have to be better than.
    const fairMs = upstreamMs * (peers + 1) * FAIR_SHARES * (1 + this.#part)
    const limit = Math.max(DESPERATE_MS * (1 + this.#part * spread), fairMs)
    if (silence <= Math.min(limit, DESPERATE_LIMIT_MS)) return
    const few = (chunkBytes * silence) / DESPERATE_MS
    // While the line brings other blobs nothing is lost by waiting longer.
    const isTaken = this.#isLineTaken(few + bytes - this.#bytesBefore)
    if (this.#areFew(bytes, few) || silence > (isTaken ? TAKEN_LIMIT_MS : DESPERATE_LIMIT_MS)) this.#isOver = true
  }

  /** Whether fewer bytes came since the last chunk, and that is not because other blobs take the line. */
  #areFew(bytes: number, few: number): boolean {
    return bytes - this.#bytesBefore < few && !this.#isLineTaken(few)
  }

  /** Whether so many bytes came over a line on which a chunk takes long anyway. */
  #isLineTaken(bytes: number): boolean {
    return this.#pace.chunkMs(this.#now()) >= SLOW_LINE_MS && this.#pace.bytes - this.#lineBefore >= bytes
  }
}
