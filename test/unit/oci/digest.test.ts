import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { algorithmOf, digestFrom, digestOf, hexOf, isDigest, parseDigest } from '../../../proxy/oci/digest.ts'

const hexDigit = fc.constantFrom(...'0123456789abcdef')
const hex = (length: number) =>
  fc.array(hexDigit, { minLength: length, maxLength: length }).map((digits) => digits.join(''))

describe('digest', () => {
  it('takes every sha256 and sha512 digest apart and puts it together again', () => {
    const parts = fc.oneof(fc.tuple(fc.constant('sha256'), hex(64)), fc.tuple(fc.constant('sha512'), hex(128)))
    fc.assert(
      fc.property(parts, ([algorithm, digits]) => {
        const digest = parseDigest(`${algorithm}:${digits}`)
        expect([algorithmOf(digest), hexOf(digest)]).toEqual([algorithm, digits])
        expect(digestFrom(algorithm, digits)).toBe(digest)
      }),
    )
  })

  it('takes nothing else', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        if (!isDigest(text))
          expect(() => parseDigest(text)).toThrow(expect.objectContaining({ code: 'DIGEST_INVALID' }))
        else expect(text).toMatch(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/)
      }),
    )
  })

  it.each([
    '',
    'sha256:',
    `sha256:${'a'.repeat(63)}`,
    `sha256:${'a'.repeat(65)}`,
    `sha256:${'A'.repeat(64)}`,
    `sha256:${'g'.repeat(64)}`,
    `sha512:${'a'.repeat(64)}`,
    `md5:${'a'.repeat(32)}`,
    `sha256:${'a'.repeat(64)}\n`,
    `sha256:../../../../etc/passwd`,
  ])('refuses %j', (text) => {
    expect(() => parseDigest(text)).toThrow(/is not a digest/)
  })

  it('computes digests', () => {
    const bytes = Buffer.from('layerd')
    expect(digestOf(bytes)).toBe(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
    expect(digestOf(bytes, 'sha512')).toBe(`sha512:${createHash('sha512').update(bytes).digest('hex')}`)
  })
})
