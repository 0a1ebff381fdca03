import { validateHeaderValue } from 'node:http'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseMediaType } from '../../../proxy/oci/media-type.ts'

describe('a media type', () => {
  it('is its two names, in lower case and without parameters', () => {
    expect(parseMediaType('application/vnd.oci.image.index.v1+json')).toBe('application/vnd.oci.image.index.v1+json')
    expect(parseMediaType(' Text/HTML ; charset=utf-8')).toBe('text/html')
    const longest = `${'a'.repeat(127)}/${'b'.repeat(127)}`
    expect(parseMediaType(longest)).toBe(longest)
  })

  it.each([
    undefined,
    null,
    '',
    'text',
    'a/',
    '/b',
    'a/b/c',
    'a b/c',
    'ä/b',
    '.a/b',
    'a/+b',
    'a/b\r\nx: y',
    `a/${'b'.repeat(128)}`,
    `${'a'.repeat(128)}/b`,
    'a\n/b; c=d',
  ])('is none of %j', (text) => {
    expect(parseMediaType(text)).toBeUndefined()
  })

  it('can be a header, and is read as itself', () => {
    const texts = fc.oneof(fc.string(), fc.stringMatching(/^[\w.+-]+\/[\w.+-]+(?:;.*)?$/))
    fc.assert(
      fc.property(texts, (text) => {
        const type = parseMediaType(text)
        if (type === undefined) return
        validateHeaderValue('content-type', type)
        expect(parseMediaType(type)).toBe(type)
      }),
    )
  })
})
