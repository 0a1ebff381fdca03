import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseContentRange, parseRange, type RangeSpec, resolveRange } from '../../../proxy/oci/range.ts'

describe('Range', () => {
  it.each([
    ['bytes=0-', { kind: 'from', start: 0 }],
    ['bytes=5-9', { kind: 'from', start: 5, end: 9 }],
    ['bytes=-3', { kind: 'suffix', length: 3 }],
    ['Bytes = 1 - 2', { kind: 'from', start: 1, end: 2 }],
  ])('reads %s', (header, spec) => {
    expect(parseRange(header)).toEqual(spec)
  })

  it.each([
    undefined,
    '',
    'bytes=',
    'bytes=-',
    'bytes=a-b',
    'bytes=5-4',
    'bytes=0-1,3-4',
    'items=0-1',
    'bytes=1',
    'bytes=--1',
  ])('ignores %j, as RFC 9110 allows', (header) => {
    expect(parseRange(header)).toBeUndefined()
  })

  it.each([
    ['bytes=0-', 10, 0, 9],
    ['bytes=9-', 10, 9, 9],
    ['bytes=0-100', 10, 0, 9],
    ['bytes=-4', 10, 6, 9],
    ['bytes=-100', 10, 0, 9],
  ])('%s of %i bytes is %i to %i', (header, size, start, end) => {
    expect(resolveRange(parseRange(header) as RangeSpec, size)).toEqual({ start, end })
  })

  it.each([
    ['bytes=10-', 10],
    ['bytes=99-100', 10],
    ['bytes=-0', 10],
    ['bytes=0-', 0],
  ])('%s of %i bytes is outside', (header, size) => {
    expect(() => resolveRange(parseRange(header) as RangeSpec, size)).toThrow(
      expect.objectContaining({ status: 416, headers: { 'Content-Range': `bytes */${size}` } }),
    )
  })

  it('lies inside the content, or throws', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), (text, size) => {
        const spec = parseRange(`bytes=${text}`)
        if (spec === undefined) return
        try {
          const { start, end } = resolveRange(spec, size)
          expect(start).toBeGreaterThanOrEqual(0)
          expect(end).toBeGreaterThanOrEqual(start)
          expect(end).toBeLessThan(size)
        } catch (error) {
          expect(error).toMatchObject({ code: 'RANGE_INVALID' })
        }
      }),
    )
  })
})

describe('Content-Range', () => {
  it('reads what a server writes', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(), (start, more, rest) => {
        const end = start + more
        const size = end + 1 + rest
        expect(parseContentRange(`bytes ${start}-${end}/${size}`)).toEqual({ start, end, size })
        expect(parseContentRange(`bytes ${start}-${end}/*`)).toEqual({ start, end })
      }),
    )
  })

  it.each([undefined, '', 'bytes */5', 'bytes 3-2/5', 'bytes 0-5/5', '0-5/6', 'bytes 0-/6'])('refuses %j', (header) => {
    expect(parseContentRange(header)).toBeUndefined()
  })
})
