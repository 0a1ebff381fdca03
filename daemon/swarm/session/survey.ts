import type { Bitfield } from '../../verify/bitfield.ts'
import type { PeerId } from '../peer-id.ts'
import {
  COPIES,
  DEAD_MS,
  SHARE_DEAD,
  SHARE_SLOW,
  SHARE_STALL,
  SILENCE_LIMIT_MS,
  SLOW_FACTOR,
  SLOW_MS,
  STALL_MS,
} from './constants.ts'

/** Chunks `first` up to and including `first + count - 1`, asked of one peer. */
export interface ChunkRequest {
  readonly id: number
  readonly peer: PeerId
  readonly first: number
  readonly count: number
}

/** A request under way. */
export interface Running extends ChunkRequest {
  /** The chunk that arrives at present. */
  at: number
  /** When it began to arrive, or was asked for. */
  since: number
  lastByteAt: number
}

/** What is under way, and how well. */
export interface Survey {
  /** Chunks that requests can be counted on to bring, and those that as many requests are for as may be at all. */
  readonly counted: ReadonlySet<number>
  /** What each peer is asked for. */
  readonly asked: ReadonlyMap<PeerId, ReadonlySet<number>>
  /** Peers that take too long for a chunk. */
  readonly late: ReadonlySet<PeerId>
  /** Peers of which nothing comes at all. */
  readonly silent: ReadonlySet<PeerId>
}

/** How long requests may take, in ms. */
export interface Limits {
  /** For a chunk, before it is asked for elsewhere as well; and where it is one of the last ones. */
  readonly late: number
  readonly lateAtEnd: number
  /** Without a byte, before it is asked for elsewhere as well; and before it is given up. */
  readonly stalled: number
  readonly dead: number
}

export function survey(running: ReadonlyMap<number, Running>, held: Bitfield, limits: Limits, now: number): Survey {
  const counted = new Set<number>()
  const asked = new Map<PeerId, Set<number>>()
  const late = new Set<PeerId>()
  const silent = new Set<PeerId>()
  const times = new Map<number, number>()
  for (const { peer, at, first, count } of running.values()) {
    const own = asked.get(peer) ?? new Set()
    asked.set(peer, own)
    for (let chunk = at; chunk < first + count; chunk++) {
      own.add(chunk)
      if (!held.has(chunk)) times.set(chunk, (times.get(chunk) ?? 0) + 1)
    }
  }
  const isEnd = times.size === held.length - held.count
  for (const request of running.values()) {
    const { peer, at, first, count, since, lastByteAt } = request
    const isSilent = now - lastByteAt > limits.stalled
    if (isSilent) silent.add(peer)
    const isLate = isSilent || now - since > limits.late
    if (isLate) late.add(peer)
    const isDoubtful = isLate || (isEnd && now - since > limits.lateAtEnd)
    for (let chunk = at; chunk < first + count; chunk++) {
      if (!isDoubtful || (times.get(chunk) ?? 0) >= COPIES) counted.add(chunk)
    }
  }
  return { counted, asked, late, silent }
}

/** @param shareMs what a chunk takes, if all requests of this node get the same part of what comes at present; 0 if not known */
export function limitsOf(chunkMs: number | undefined, shareMs: number): Limits {
  return {
    late: Math.max(SLOW_MS, (chunkMs ?? 0) * SLOW_FACTOR, shareMs * SHARE_SLOW),
    lateAtEnd: Math.max(chunkMs ?? SLOW_MS, shareMs),
    stalled: Math.max(STALL_MS, Math.min(shareMs * SHARE_STALL, SILENCE_LIMIT_MS)),
    dead: Math.max(DEAD_MS, Math.min(shareMs * SHARE_DEAD, SILENCE_LIMIT_MS)),
  }
}
