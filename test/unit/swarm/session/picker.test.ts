import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { WINDOW_CHUNKS } from '../../../../daemon/swarm/session/constants.ts'
import { type Offer, type Pick, type PickState, pick } from '../../../../daemon/swarm/session/picker.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { having } from './fields.ts'

const length = 64

function offer(peer: string, chunks: readonly number[], more: Partial<Offer> = {}): Offer {
  const plain = { slots: 2, run: 1, load: 0, rate: 1e6, isLast: false, isSource: false, asked: new Set<number>() }
  return { peer, has: having(length, ...chunks), ...plain, ...more }
}

function stateOf(offers: readonly Offer[], more: Partial<PickState> = {}): PickState {
  return {
    held: new Bitfield(length),
    verifiable: length,
    isUnderWay: () => false,
    copies: (chunk) => offers.filter(({ has }) => has.has(chunk)).length,
    isCommon: (chunk) => offers.some(({ has, isLast }) => !isLast && has.has(chunk)),
    urgent: [],
    rank: (chunk) => chunk,
    random: () => 0,
    offers,
    requests: 8,
    budget: 24,
    ...more,
  }
}

const brief = (picks: readonly Pick[]) => picks.map(({ peer, first, count }) => `${peer}:${first}+${count}`)
const all = Array.from({ length }, (_, chunk) => chunk)

const cases: readonly [what: string, state: PickState, expected: readonly string[]][] = [
  ['nothing where nobody has anything', stateOf([offer('a', [])]), []],
  ['nothing that is held', stateOf([offer('a', [3])], { held: having(length, 3) }), []],
  ['nothing that is under way', stateOf([offer('a', [3])], { isUnderWay: (chunk) => chunk === 3 }), []],
  ['nothing that can not be verified yet', stateOf([offer('a', [3, 4])], { verifiable: 4 }), ['a:3+1']],
  ['nothing of whom it was asked of already', stateOf([offer('a', [3], { asked: new Set([3]) })]), []],
  ['no more than a peer has slots for', stateOf([offer('a', [1, 2, 3])]), ['a:1+1', 'a:2+1']],
  ['no more than there may be requests', stateOf([offer('a', [1, 2])], { requests: 1 }), ['a:1+1']],
  ['no more than there is a budget for', stateOf([offer('a', all, { run: 4 })], { budget: 6 }), ['a:0+4', 'a:4+2']],
  ['the rarest first', stateOf([offer('a', [1, 2], { slots: 1 }), offer('b', [1], { slots: 0 })]), ['a:2+1']],
  [
    'by rank what is equally rare',
    stateOf([offer('a', [1, 2, 3], { slots: 1 })], { rank: (chunk) => -chunk }),
    ['a:3+1'],
  ],
  [
    'runs that end at what is missing there, held, or under way',
    stateOf([offer('a', [1, 2, 3, 5, 6, 8, 9], { run: 8, slots: 3 })], {
      held: having(length, 6),
      isUnderWay: (chunk) => chunk === 9,
    }),
    ['a:1+3', 'a:5+1', 'a:8+1'],
  ],
  [
    'what clients wait for before what is rare',
    stateOf([offer('a', [1, 9], { slots: 1 }), offer('b', [1], { slots: 0 })], { urgent: [9] }),
    ['a:9+1'],
  ],
  [
    'what clients wait for beside what is under way, and of a source before it has offered it',
    stateOf([offer('a', [1], { slots: 0, load: 2, isSource: true })], { urgent: [9], requests: 0 }),
    ['a:9+1'],
  ],
  [
    'within the window before beyond it',
    stateOf([offer('a', [5, WINDOW_CHUNKS + 1]), offer('b', [5], { slots: 0 })]),
    ['a:5+1', `a:${WINDOW_CHUNKS + 1}+1`],
  ],
  [
    'the one that promises more',
    stateOf([offer('a', [1], { rate: 1e6 }), offer('b', [1], { rate: 3e6 })], { urgent: [1] }),
    ['b:1+1'],
  ],
  [
    'the one with less under way',
    stateOf([offer('a', [1], { load: 1, slots: 1 }), offer('b', [1])], { urgent: [1] }),
    ['b:1+1'],
  ],
  ['the last resort where nobody else has it', stateOf([offer('a', [1], { isLast: true })]), ['a:1+1']],
  [
    'not the last resort where another one has it',
    stateOf([offer('a', [1], { isLast: true }), offer('b', [1])]),
    ['b:1+1'],
  ],
  [
    'not the last resort even where the other one has no slot',
    stateOf([offer('a', [1], { isLast: true }), offer('b', [1], { slots: 0 })]),
    [],
  ],
  [
    'what a source offers alone before everything else',
    stateOf([offer('a', [0, 1], { slots: 1 }), offer('s', [9], { isSource: true, isLast: true })], { requests: 1 }),
    ['s:9+1'],
  ],
]

describe('the picker asks for', () => {
  it.each(cases)('%s', (_what, state, expected) => {
    expect(brief(pick(state))).toEqual(expected)
  })

  it('no chunk twice, nothing held, and nothing of whom does not have it', () => {
    const fields = fc.array(fc.uniqueArray(fc.nat({ max: length - 1 })), { minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(fields, fc.uniqueArray(fc.nat({ max: length - 1 })), fc.integer(), (peers, held, seed) => {
        let last = seed
        const random = () => {
          last = (Math.imul(last, 1103515245) + 12345) & 0x7fffffff
          return last / 2 ** 31
        }
        const offers = peers.map((chunks, index) => offer(`${index}`, chunks, { run: 3 }))
        const state = stateOf(offers, { held: having(length, ...held), random })
        const chunks = pick(state).flatMap(({ peer, first, count }) => {
          const run = Array.from({ length: count }, (_, index) => first + index)
          for (const chunk of run) expect(offers[Number(peer)]?.has.has(chunk)).toBe(true)
          return run
        })
        expect(new Set(chunks).size).toBe(chunks.length)
        expect(chunks.some((chunk) => held.includes(chunk))).toBe(false)
        expect(chunks.length).toBeLessThanOrEqual(24)
      }),
    )
  })

  it('something of different peers, where luck differs', () => {
    const offers = ['a', 'b', 'c', 'd'].map((peer) => offer(peer, all))
    const first = (luck: number) => pick(stateOf(offers, { random: () => luck, requests: 1 }))[0]?.peer
    expect(new Set([0, 0.3, 0.6, 0.9].map(first)).size).toBe(4)
  })
})
