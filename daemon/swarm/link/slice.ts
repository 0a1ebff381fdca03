import type { PartHead } from '../ports.ts'
import { MAX_PART_BYTES } from './constants.ts'

/** A piece of a part: its bytes follow it. */
export interface SliceHead extends PartHead {
  /** Length of the whole part. */
  readonly total: number
  /** Where in the part it begins. */
  readonly offset: number
  readonly length: number
}

/** Number of the question (4 bytes), quarter (1), length of the part (4), offset and length of the slice (4 each), big-endian. */
export const SLICE_HEAD_BYTES = 17

/** Writes it to the start of a buffer. */
export function writeSliceHead(buffer: Buffer, { id, quarter, total, offset, length }: SliceHead): void {
  buffer.writeUInt32BE(id)
  buffer.writeUInt8(quarter, 4)
  buffer.writeUInt32BE(total, 5)
  buffer.writeUInt32BE(offset, 9)
  buffer.writeUInt32BE(length, 13)
}

/** Reads it from the start of a buffer. @throws {Error} where a part is too long, or the slice is empty or not within the part */
export function readSliceHead(buffer: Buffer): SliceHead {
  const head = {
    id: buffer.readUInt32BE(),
    quarter: buffer.readUInt8(4),
    total: buffer.readUInt32BE(5),
    offset: buffer.readUInt32BE(9),
    length: buffer.readUInt32BE(13),
  }
  const { total, offset, length } = head
  if (total > MAX_PART_BYTES) throw new Error(`a part of ${total} bytes; at most ${MAX_PART_BYTES} are allowed`)
  if (length === 0 || offset + length > total) {
    throw new Error(`a slice of ${length} bytes at ${offset} of a part of ${total} bytes`)
  }
  return head
}
