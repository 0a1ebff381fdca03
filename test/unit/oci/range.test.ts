import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  parseContentRange,
  parseRange,
  parseRanges,
  type RangeSpec,
  resolveRange,
  resolveRanges,
} from '../../../proxy/oci/range.ts'

describe('Range', () => {
  it.each([
    ['bytes=0-', { kind: 'from', start: 0 }],
    ['bytes=5-9', { kind: 'from', start: 5, end: 9 }],
    ['bytes=-3', { kind: 'suffix', length: 3 }],
    ['Bytes = 1 - 2', { kind: 'from', start: 1, end: 2 }],
  ])('reads %s', (header, spec) => {
    expect(parseRange(header)).toEqual(spec)
  })

  it.each([undefined, '', 'bytes=', 'bytes=-', 'bytes=a-b', 'bytes=0-1,3-4', 'items=0-1', 'bytes=1', 'bytes=--1'])(
    'ignores %j, as RFC 9110 allows',
    (header) => {
      expect(parseRange(header)).toBeUndefined()
    },
  )

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
    ['bytes=5-4', 10],
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

describe('several ranges', () => {
  const bytes = (header: string, size: number) => {
    const specs = parseRanges(header)
    return specs && resolveRanges(specs, size)?.map(({ start, end }) => [start, end])
  }

  it.each([
    ['bytes=0-1,5-6', [0, 1], [5, 6]],
    ['bytes= 5-6 , 0 - 1', [5, 6], [0, 1]],
    ['bytes=0-1,2-3', [0, 1], [2, 3]],
    ['bytes=1-3,2-4', [1, 3], [2, 4]],
    ['bytes=8-,-1', [8, 9], [9, 9]],
    ['bytes=,0-0,,9-9,', [0, 0], [9, 9]],
    ['bytes=0-0,10-,-0', [0, 0]],
  ])('%s of 10 bytes are in the order asked for', (header, ...expected) => {
    expect(bytes(header, 10)).toEqual(expected)
  })

  it.each([
    'bytes=0-1,a',
    'bytes=0-1,5-4',
    'bytes=0-1;5-6',
    'bytes=,',
    'items=0-1,5-6',
    `bytes=${'0-0,'.repeat(1025)}`,
  ])('%.40s is ignored', (header) => expect(parseRanges(header)).toBeUndefined())

  it('are as many as podman asks for', () => {
    const header = `bytes=${Array.from({ length: 1024 }, (_, at) => `${2 * at}-${2 * at}`).join(',')}`
    expect(bytes(header, 2048)).toHaveLength(1024)
  })

  it('are ignored where they are more than the whole', () => {
    expect(bytes('bytes=0-,0-0', 10)).toBeUndefined()
  })

  it('are outside where each of them is', () => {
    const headers = { 'Content-Range': 'bytes */10' }
    expect(() => bytes('bytes=10-11,-0', 10)).toThrow(expect.objectContaining({ status: 416, headers }))
  })

  it('are one range each for parseRange', () => {
    expect(parseRange('bytes=0-1,5-6')).toBeUndefined()
    expect(parseRange('bytes=0-1,')).toEqual({ kind: 'from', start: 0, end: 1 })
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
