import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DigestMismatch } from '../../../daemon/verify/mismatch.ts'
import { prove } from '../../../daemon/verify/prove.ts'
import { lastQuarterStart, quarterBytes, releasableBytes } from '../../../daemon/verify/quarter.ts'
import { createDigestHash, digestOf } from '../../../proxy/oci/digest.ts'
import { collect, piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'

const bytes = pseudoRandomBytes(2 * quarterBytes + 12_345)

async function take(body: AsyncIterable<Uint8Array>): Promise<{ bytes: Buffer; error?: unknown }> {
  const pieces: Uint8Array[] = []
  try {
    for await (const quarter of body) pieces.push(Uint8Array.from(quarter))
    return { bytes: Buffer.concat(pieces) }
  } catch (error) {
    return { bytes: Buffer.concat(pieces), error }
  }
}

describe('what may be released', () => {
  it('is never all of an unproven blob', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 40 }), (size) => {
        expect(lastQuarterStart(size)).toBeLessThan(size)
        expect(size - lastQuarterStart(size)).toBeLessThanOrEqual(quarterBytes)
        expect(lastQuarterStart(size) % quarterBytes).toBe(0)
        expect(releasableBytes(size, size)).toBeLessThan(size)
        expect(releasableBytes(size, undefined)).toBeLessThan(size)
      }),
    )
    expect(lastQuarterStart(0)).toBe(0)
  })
})

describe('prove', () => {
  it.each([0, 1, quarterBytes - 1, quarterBytes, quarterBytes + 1, 2 * quarterBytes, bytes.length])(
    'passes %i right bytes on unchanged',
    async (length) => {
      const blob = bytes.subarray(0, length)
      for (const size of [length, undefined]) {
        expect(blob.equals(await collect(prove(piecesOf(blob, 70_001), digestOf(blob), size)))).toBe(true)
      }
    },
  )

  it('goes on after a prefix that was hashed before', async () => {
    const prefix = { length: 1_000_000, hash: createDigestHash('sha256').update(bytes.subarray(0, 1_000_000)) }
    const rest = prove(piecesOf(bytes.subarray(1_000_000), 65_536), digestOf(bytes), bytes.length, prefix)
    expect(bytes.subarray(1_000_000).equals(await collect(rest))).toBe(true)
  })

  it.each([0, quarterBytes, bytes.length - 1])('withholds the last quarter when byte %i is wrong', async (position) => {
    const wrong = Buffer.from(bytes)
    wrong[position] = (wrong[position] ?? 0) ^ 1
    for (const size of [bytes.length, undefined]) {
      const taken = await take(prove(piecesOf(wrong, 65_536), digestOf(bytes), size))
      expect(taken.error).toBeInstanceOf(DigestMismatch)
      expect(taken.bytes.length).toBeLessThanOrEqual(lastQuarterStart(bytes.length))
    }
  })

  it('does not take a short body for a whole one', async () => {
    const taken = await take(prove(piecesOf(bytes.subarray(0, -1), 65_536), digestOf(bytes), bytes.length))
    expect(taken.error).toBeInstanceOf(DigestMismatch)
  })
})
