import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Bitfield } from '../../../daemon/verify/bitfield.ts'

/** A length, and some parts of a blob of so many. */
const someParts = fc
  .integer({ min: 1, max: 300 })
  .chain((length) =>
    fc.record({ length: fc.constant(length), parts: fc.uniqueArray(fc.integer({ min: 0, max: length - 1 })) }),
  )

function fieldOf(length: number, parts: readonly number[]): Bitfield {
  const field = new Bitfield(length)
  for (const part of parts) field.set(part)
  return field
}

describe('a bitfield', () => {
  it('holds what was set', () => {
    fc.assert(
      fc.property(someParts, ({ length, parts }) => {
        const field = fieldOf(length, parts)
        expect([...field.indexes()]).toEqual(parts.toSorted((a, b) => a - b))
        expect(field.count).toBe(parts.length)
        expect(field.isFull).toBe(parts.length === length)
      }),
    )
  })

  it('meets another where both have a part between two borders', () => {
    const border = fc.nat({ max: 320 })
    fc.assert(
      fc.property(
        someParts,
        fc.uniqueArray(fc.nat({ max: 299 })),
        border,
        border,
        ({ length, parts }, others, from, to) => {
          const other = fieldOf(
            length,
            others.filter((part) => part < length),
          )
          const both = parts.filter((part) => others.includes(part) && part >= from && part < to)
          expect(fieldOf(length, parts).meets(other, from, to)).toBe(both.length > 0)
        },
      ),
    )
  })

  it('is empty when it was cleared', () => {
    const field = fieldOf(20, [0, 7, 8, 19])
    field.clearAll()
    expect([[...field.indexes()], field.count]).toEqual([[], 0])
  })

  it('is the same after encoding and decoding', () => {
    fc.assert(
      fc.property(someParts, ({ length, parts }) => {
        const field = fieldOf(length, parts)
        const decoded = Bitfield.decode(field.encode(), length)
        expect([...decoded.indexes()]).toEqual([...field.indexes()])
        expect(decoded.count).toBe(field.count)
      }),
    )
  })

  it('says whether setting and clearing changed anything', () => {
    fc.assert(
      fc.property(someParts, fc.nat({ max: 299 }), ({ length, parts }, any) => {
        const part = any % length
        const field = fieldOf(length, parts)
        expect(field.set(part)).toBe(!parts.includes(part))
        expect(field.set(part)).toBe(false)
        expect(field.clear(part)).toBe(true)
        expect(field.clear(part)).toBe(false)
        expect(field.has(part)).toBe(false)
        expect(field.count).toBe(parts.filter((one) => one !== part).length)
      }),
    )
  })

  it('finds the first that is missing', () => {
    fc.assert(
      fc.property(someParts, fc.nat({ max: 310 }), ({ length, parts }, from) => {
        const held = new Set(parts)
        let first = from
        while (first < length && held.has(first)) first++
        expect(fieldOf(length, parts).firstMissing(from)).toBe(Math.min(first, length))
      }),
    )
  })

  it('says where the bit of a part is', () => {
    fc.assert(
      fc.property(someParts, fc.nat({ max: 299 }), ({ length, parts }, any) => {
        const field = fieldOf(length, parts)
        const { offset, value } = field.byteOf(any % length)
        expect(field.encode()[offset]).toBe(value)
        expect((value & (0x80 >> ((any % length) & 7))) !== 0).toBe(field.has(any % length))
      }),
    )
  })

  it('puts the first part into the highest bit', () => {
    expect([...fieldOf(10, [0, 9]).encode()]).toEqual([0x80, 0x40])
  })

  it('is full when made so', () => {
    expect(Bitfield.full(11).isFull).toBe(true)
    expect(Bitfield.full(11).encode()).toEqual(Uint8Array.of(0xff, 0xe0))
    expect(Bitfield.full(11).firstMissing()).toBe(11)
  })

  it('refuses what is not its size', () => {
    expect(() => Bitfield.decode(new Uint8Array(1), 9)).toThrow('2 bytes, not 1')
    expect(() => Bitfield.decode(new Uint8Array(3), 9)).toThrow('2 bytes, not 3')
    expect(() => Bitfield.decode(Uint8Array.of(0, 0x40), 9)).toThrow('has part 9')
    expect(() => new Bitfield(8).set(8)).toThrow(RangeError)
    expect(() => new Bitfield(8).set(-1)).toThrow(RangeError)
    expect(new Bitfield(8).has(-1)).toBe(false)
    expect(Bitfield.full(8).has(8)).toBe(false)
  })
})
