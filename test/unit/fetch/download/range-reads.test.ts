import { describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Assembly } from '../../../../daemon/fetch/download/assembly.ts'
import { MAX_URGENT, SMALL_RANGE_BYTES, URGENT_QUARTERS } from '../../../../daemon/fetch/download/constants.ts'
import type { Attempt } from '../../../../daemon/fetch/download/context.ts'
import { RangeReads } from '../../../../daemon/fetch/download/range-reads.ts'
import type { Reading } from '../../../../daemon/fetch/download/reader.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { quarterBytes, quartersPerChunk } from '../../../../daemon/verify/quarter.ts'

const quarters = 1_000
/** Quarters of the longest range that is small. */
const small = SMALL_RANGE_BYTES / quarterBytes

/** A client that reads quarters `first` to `last`. */
function readingOf(first: number, last: number, isRange = true): Reading {
  const start = first * quarterBytes
  return { start, end: (last + 1) * quarterBytes - 1, position: start, isRange }
}

interface Situation {
  readonly isHead?: boolean
  /** What peers have. */
  readonly expects?: (quarter: number) => boolean
}

function setUp(readings: readonly Reading[], { isHead = false, expects = () => false }: Situation = {}) {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const asked: [number, number][] = []
  const urgent: (readonly number[])[] = []
  const assembly = { held: new Bitfield(quarters), raw: new Bitfield(quarters) }
  const set = new Set(readings)
  const sharing = { expects, urgent: (wanted: readonly number[]) => void urgent.push(wanted) }
  const reads = new RangeReads({
    attempt: { sharing } as unknown as Attempt,
    readings: set,
    upstream: { range: (first, last) => void asked.push([first, last]) },
    isHead: () => isHead,
  })
  const look = () => reads.look(assembly as unknown as Assembly)
  const pass = (ms: number) => {
    vi.advanceTimersByTime(ms)
    look()
  }
  return { asked, urgent, assembly, readings: set, look, pass }
}

describe('a small range', () => {
  it('that no peer has is fetched at once by whoever needs it', () => {
    const { asked, look } = setUp([readingOf(50, 50 + small - 1)])
    look()
    expect(asked).toEqual([[50, 50 + small - 1]])
  })

  it('is small by its own length, and not by what is left of it', () => {
    const reading = readingOf(50, 50 + small)
    reading.position = reading.end
    const { asked, look } = setUp([reading])
    look()
    expect(asked).toEqual([])
  })

  it('that a peer has is waited for, but not for ever', () => {
    const { asked, look, pass } = setUp([readingOf(50, 53)], { expects: () => true })
    look()
    pass(NUMBERS.patienceMs)
    expect(asked).toEqual([])
    pass(1)
    expect(asked).toEqual([[50, 53]])
  })

  it('is waited for anew when some of it has come', () => {
    const reading = readingOf(50, 53)
    const { asked, look, pass } = setUp([reading], { expects: () => true })
    look()
    pass(NUMBERS.patienceMs)
    reading.position += quarterBytes
    pass(NUMBERS.patienceMs)
    pass(NUMBERS.patienceMs)
    expect(asked).toEqual([])
  })

  it('is asked for from what is missing on, and not where all of it is there', () => {
    const { asked, urgent, look, assembly } = setUp([readingOf(50, 53), readingOf(60, 61)])
    assembly.held.set(50)
    assembly.raw.set(51)
    assembly.held.set(60)
    assembly.raw.set(61)
    look()
    expect([asked, urgent]).toEqual([[[52, 53]], [[52, 53]]])
  })
})

describe('a long range', () => {
  it('is fetched part by part by the one who reads for all', () => {
    const reading = readingOf(50, 499)
    const { asked, look, assembly } = setUp([reading], { isHead: true })
    look()
    for (let quarter = 50; quarter < 60; quarter++) assembly.held.set(quarter)
    reading.position = 60 * quarterBytes
    look()
    expect(asked).toEqual([
      [50, 50 + small - 1],
      [60, 60 + small - 1],
    ])
  })

  it('is left to that one by others, but a chunk now and then where nothing comes', () => {
    const { asked, look, pass } = setUp([readingOf(50, 499)])
    look()
    pass(NUMBERS.patienceMs)
    expect(asked).toEqual([])
    pass(1)
    expect(asked).toEqual([[50, 50 + quartersPerChunk - 1]])
  })
})

describe('peers', () => {
  it('are told what clients wait for next when that has changed, and when nobody waits any more', () => {
    const reading = readingOf(50, 499)
    const { urgent, look, assembly, readings } = setUp([reading, readingOf(0, quarters - 1, false)])
    look()
    look()
    const next = (first: number) => Array.from({ length: URGENT_QUARTERS }, (_, at) => first + at)
    expect(urgent).toEqual([next(50)])
    assembly.held.set(50)
    look()
    expect(urgent.slice(1)).toEqual([next(51)])
    readings.clear()
    look()
    expect(urgent.slice(2)).toEqual([[]])
  })

  it('are told of so many clients, the ones that came first; what others read is asked for at upstream all the same', () => {
    const readings = Array.from({ length: MAX_URGENT + 1 }, (_, at) => readingOf(4 * at, 4 * at + 3))
    const last = 4 * MAX_URGENT
    const { urgent, asked, look } = setUp(readings, { expects: (quarter) => quarter < last })
    look()
    expect(urgent[0]).toHaveLength(last)
    expect(urgent[0]).not.toContain(last)
    expect(asked).toEqual([[last, last + 3]])
  })
})
