import { quarterLength } from '../../verify/quarter.ts'
import type { Sha256Engine } from '../../verify/sha256.ts'
import { inQuarters } from './buffers.ts'
import { type QuarterFate, Receiver, type ReceivingBlob, WrongQuarter } from './receiver.ts'

/** Bytes of quarters from one source, in order. */
export interface Arriving {
  readonly body: AsyncIterable<Uint8Array>
  readonly first: number
  /** Whether they come from upstream: these extend the list, and are kept where there is no list yet to verify them. */
  readonly isUpstream: boolean
  readonly onBytes: (bytes: number) => void
  /** A quarter has come to its end. */
  readonly onQuarter: (quarter: number, fate: QuarterFate) => void
}

/**
 * What became of a quarter that was whole in memory:
 * - `held`: it fits, and is in the file now
 * - `there`: it was there before, or somebody else was faster to bring it, or nothing is written any more
 * - `wrong`: it does not fit the list as it is
 * - `unknown`: the list does not reach it, or has changed meanwhile
 */
export type WholeFate = 'held' | 'there' | 'wrong' | 'unknown'

/** Takes a body, see `Assembly.take`. */
export async function receiveBody(blob: ReceivingBlob, engine: Sha256Engine, arriving: Arriving): Promise<void> {
  const { body, first, isUpstream, onBytes, onQuarter } = arriving
  let receiver = new Receiver(blob, engine, first, isUpstream)
  const push = async (bytes: Buffer) => {
    await receiver.push(bytes)
    if (!receiver.isWhole) return
    const { quarter } = receiver
    onQuarter(quarter, await receiver.finish())
    receiver = new Receiver(blob, engine, quarter + 1, isUpstream)
  }
  try {
    await inQuarters(body, push, onBytes)
  } finally {
    receiver.abandon()
  }
}

/** Takes a quarter of a peer that is whole in memory, see `Assembly.takeQuarter`. */
export async function receiveWhole(
  blob: ReceivingBlob,
  engine: Sha256Engine,
  quarter: number,
  bytes: Buffer,
): Promise<WholeFate> {
  const { list, partial } = blob
  const isReached = list.stateAt(quarter) !== undefined && list.stateAt(quarter + 1) !== undefined
  const receiver = new Receiver(blob, engine, quarter, false)
  if (receiver.isThere) return 'there'
  if (!isReached) return 'unknown'
  // More than a quarter would be written over the next one.
  if (bytes.length !== quarterLength(quarter, partial.size)) return 'wrong'
  try {
    await receiver.pushWhole(bytes)
    const fate = await receiver.judge()
    return fate === 'raw' ? 'unknown' : fate
  } catch (error) {
    if (error instanceof WrongQuarter) return 'wrong'
    throw error
  } finally {
    receiver.abandon()
  }
}
