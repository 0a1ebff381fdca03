import { z } from 'zod'
import { formatAddress } from '../../../config/units.ts'
import { parsePlace } from '../transfer/places.ts'
import { MAX_REASON_LENGTH } from './constants.ts'

/** What a node has found out about a peer's transfer server. */
export interface Finding {
  readonly isOpen: boolean
  /** `host:port` where it looked. */
  readonly address: string
  /** Why it can't be reached. */
  readonly reason?: string | undefined
}

const schema = z.object({
  isOpen: z.boolean(),
  address: z.string().transform((text, context) => {
    const place = parsePlace(text)
    if (place !== undefined) return formatAddress(place)
    context.addIssue({ code: 'custom', message: 'expected host:port' })
    return z.NEVER
  }),
  // It is shown to a person.
  reason: z
    .string()
    .transform((text) => text.replace(/[^\x20-\x7e]/g, ' ').slice(0, MAX_REASON_LENGTH))
    .optional(),
})

/** One line of JSON. */
export function encodeFinding({ isOpen, address, reason }: Finding): Uint8Array {
  const short = reason?.slice(0, MAX_REASON_LENGTH)
  return new TextEncoder().encode(`${JSON.stringify({ isOpen, address, reason: short })}\n`)
}

/** Reads the line; fields that are not known are left alone. @throws {Error} */
export function decodeFinding(line: Uint8Array): Finding {
  return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line)))
}
