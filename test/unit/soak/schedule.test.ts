import { describe, expect, it } from 'vitest'
import { FAULTS } from '../../soak/faults/all.ts'
import { schedule } from '../../soak/schedule.ts'

const span = (seed: number, minutes = 60, nodes = 5) => ({ seed, nodes, seconds: minutes * 60, settle: 30 })

describe('the schedule of faults', () => {
  it('is the same for the same seed, and another one for another', () => {
    expect(schedule(FAULTS, span(7))).toEqual(schedule(FAULTS, span(7)))
    expect(schedule(FAULTS, span(7))).not.toEqual(schedule(FAULTS, span(8)))
  })

  it('lets every kind happen within a few hours', () => {
    const seen = new Set([1, 2, 3, 4].flatMap((seed) => schedule(FAULTS, span(seed)).map(({ kind }) => kind)))
    expect(seen).toEqual(new Set(FAULTS.map(({ kind }) => kind)))
  })

  it('never lets two faults befall a node, or upstream, at a time', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const planned = schedule(FAULTS, span(seed))
      for (const [index, one] of planned.entries()) {
        for (const other of planned.slice(index + 1)) {
          if (other.at > one.until) continue
          const isUpstream = ({ nodes }: typeof one) => nodes.length === 0
          expect(isUpstream(one) && isUpstream(other)).toBe(false)
          const taken = [...one.nodes, ...(one.from === undefined ? [] : [one.from])]
          expect([...other.nodes, other.from].filter((node) => node !== undefined && taken.includes(node))).toEqual([])
        }
      }
    }
  })

  it('leaves the end of a run free, so that all has to be well then', () => {
    for (const minutes of [1, 2, 60]) {
      const planned = schedule(FAULTS, span(3, minutes))
      expect(planned.length).toBeGreaterThan(1)
      for (const { at, until } of planned) {
        expect(at).toBeLessThanOrEqual(until)
        expect(until).toBeLessThan(minutes * 60 - 30)
      }
    }
  })

  it('splits off a part of the fleet, and never all of it', () => {
    const splits = [1, 2, 3].flatMap((seed) =>
      schedule(FAULTS, span(seed)).filter(({ kind }) => kind === 'fleet split'),
    )
    expect(splits.some(({ nodes }) => nodes.length > 1)).toBe(true)
    for (const { nodes } of splits) expect([nodes.length > 0, nodes.length < 5]).toEqual([true, true])
  })
})
