import { Bitfield } from '../../../../daemon/verify/bitfield.ts'

/** A bitfield with the chunks named. */
export function having(length: number, ...chunks: readonly number[]): Bitfield {
  const field = new Bitfield(length)
  for (const chunk of chunks) field.set(chunk)
  return field
}
