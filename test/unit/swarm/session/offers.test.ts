import { describe, expect, it } from 'vitest'
import {
  ASK_LIMIT_MS,
  ASK_MS,
  ASK_TIMES,
  MAX_OFFERED,
  OFFER_UNASKED_MS,
  REQUESTS_ALIKE,
} from '../../../../daemon/swarm/session/constants.ts'
import { Offers } from '../../../../daemon/swarm/session/offers.ts'

const inOrder = (offers: Offers, ...peers: string[]) => peers.sort((one, other) => offers.compare(one, other))

describe('whose turn it is to be offered a chunk', () => {
  it('is that of who was offered something longer ago, and of who was offered nothing before all; so many are remembered', () => {
    const offers = new Offers()
    for (const peer of ['a', 'b', 'a']) offers.make(peer, 'blob', 0, 0)
    expect(inOrder(offers, 'a', 'b', 'c')).toEqual(['c', 'b', 'a'])
    for (let peer = 0; peer < MAX_OFFERED; peer++) offers.make(String(peer), 'blob', 0, 0)
    expect(offers.compare('a', 'nobody')).toBe(0)
    expect(offers.compare('0', 'nobody')).toBeGreaterThan(0)
  })

  it('is that of who has fewer requests under way, as it told and with what it was offered since', () => {
    const offers = new Offers()
    for (const peer of ['c', 'd', 'e', 'f', 'idle']) offers.make(peer, 'blob', 0, 0)
    offers.told('idle', 0)
    offers.told('c', REQUESTS_ALIKE)
    expect(inOrder(offers, 'c', 'idle')).toEqual(['idle', 'c'])
    // Of two that have as many, the turn decides.
    offers.told('c', REQUESTS_ALIKE - 1)
    expect(inOrder(offers, 'c', 'idle')).toEqual(['c', 'idle'])
    offers.told('c', 2 * REQUESTS_ALIKE)
    offers.told('f', REQUESTS_ALIKE)
    expect(inOrder(offers, 'c', 'f')).toEqual(['f', 'c'])
    offers.told('f', 2 * REQUESTS_ALIKE - 1)
    offers.make('f', 'blob', 1, 0)
    expect(inOrder(offers, 'f', 'c')).toEqual(['c', 'f'])
  })

  it('comes after one round, whatever others tell', () => {
    const offers = new Offers()
    const peers = ['liar', 'a', 'b', 'c']
    const got = new Map<string, number>()
    for (let chunk = 0; chunk < 400; chunk++) {
      offers.told('liar', 0)
      for (const peer of ['a', 'b', 'c']) offers.told(peer, 9)
      const [next = ''] = inOrder(offers, ...peers)
      got.set(next, (got.get(next) ?? 0) + 1)
      offers.make(next, 'blob', chunk, 0)
    }
    for (const peer of ['a', 'b', 'c']) expect(got.get(peer)).toBeGreaterThan(50)
  })

  it('comes after a few rounds, however many others tell less, each of them less than the one before', () => {
    const offers = new Offers()
    const peers = Array.from({ length: 20 }, (_, index) => String(index))
    const offeredAt = new Map<string, number>()
    let longest = 0
    for (let turn = 1; turn <= 1000; turn++) {
      for (const [index, peer] of peers.entries()) offers.told(peer, (peers.length - index) * REQUESTS_ALIKE)
      const next = peers.reduce((best, peer) => (offers.compare(peer, best) < 0 ? peer : best))
      offers.make(next, 'blob', turn, 0)
      offeredAt.set(next, turn)
      for (const peer of peers) longest = Math.max(longest, turn - (offeredAt.get(peer) ?? 0))
    }
    // What is a round apart is looked at for each two of them.
    expect(longest).toBeLessThanOrEqual(4 * peers.length)
  })

  it('comes after one round of those who are there, however many have been', () => {
    const offers = new Offers()
    for (let peer = 0; peer < 100; peer++) offers.told(String(peer), 0)
    for (let peer = 0; peer < 100; peer++) offers.left(String(peer))
    offers.told('busy', REQUESTS_ALIKE)
    offers.make('busy', 'blob', 0, 0)
    for (let chunk = 1; chunk < 4; chunk++) {
      offers.make('liar', 'blob', chunk, 0)
      offers.told('liar', 0)
    }
    expect(inOrder(offers, 'liar', 'busy')).toEqual(['busy', 'liar'])
  })

  it('goes by turns among those who do not tell', () => {
    const offers = new Offers()
    for (let chunk = 0; chunk < 20; chunk++) offers.make('old', 'blob', chunk, 0)
    offers.make('other', 'blob', 0, 0)
    expect(inOrder(offers, 'other', 'old')).toEqual(['old', 'other'])
  })
})

describe('an offer', () => {
  it('is awaited until it is asked for, is not needed any more, or has lapsed', () => {
    const offers = new Offers()
    expect(offers.lapsesAt).toBe(Number.POSITIVE_INFINITY)
    for (const [chunk, at] of [0, 10, 20].entries()) offers.make('a', 'blob', chunk, at)
    offers.make('a', 'another blob', 1, 30)
    expect([offers.awaited(30), offers.awaitedOf('blob')]).toEqual([4, 3])
    offers.drop('a', 'blob', 2)
    offers.asked('a', 'blob', 1, 31)
    expect([offers.awaited(31), offers.awaitedOf('blob')]).toEqual([2, 1])
    expect(offers.lapsesAt).toBe(ASK_MS)
    expect(offers.awaited(ASK_MS)).toBe(1)
    expect(offers.lapsesAt).toBe(30 + ASK_MS)
    expect(offers.awaited(30 + ASK_MS)).toBe(0)
    expect(offers.lapsesAt).toBe(Number.POSITIVE_INFINITY)
  })

  it('that is made again is as old as that', () => {
    const offers = new Offers()
    offers.make('a', 'blob', 0, 0)
    offers.make('b', 'blob', 0, 10)
    offers.make('a', 'blob', 0, 20)
    expect(offers.lapsesAt).toBe(10 + ASK_MS)
    expect(offers.awaited(10 + ASK_MS)).toBe(1)
  })

  it('is forgotten with its peer, or its blob', () => {
    const offers = new Offers()
    for (const peer of ['a', 'ab']) for (const blob of ['one', 'other']) offers.make(peer, blob, 0, 0)
    offers.forget('one', 'a')
    expect([offers.awaitedOf('one'), offers.awaitedOf('other')]).toEqual([1, 2])
    offers.forget('other')
    expect([offers.awaited(0), offers.awaitedOf('other')]).toEqual([1, 0])
  })

  it('is known not to have been asked for until long after it has lapsed', () => {
    const offers = new Offers()
    offers.make('a', 'blob', 0, 0)
    offers.make('a', 'blob', 1, 0)
    expect(offers.awaited(OFFER_UNASKED_MS)).toBe(0)
    offers.asked('a', 'blob', 1, OFFER_UNASKED_MS)
    expect([0, 1].map((chunk) => offers.isUnasked('a', 'blob', chunk))).toEqual([true, false])
    offers.awaited(2 * OFFER_UNASKED_MS)
    expect(offers.isUnasked('a', 'blob', 0)).toBe(false)
  })

  it('is not remembered for ever where very many are made', () => {
    const offers = new Offers()
    for (let chunk = 0; chunk <= MAX_OFFERED; chunk++) offers.make('a', 'blob', chunk, 0)
    offers.awaited(ASK_MS)
    expect([0, 1].map((chunk) => offers.isUnasked('a', 'blob', chunk))).toEqual([false, true])
  })

  it('is awaited for longer where questions take longer, up to a limit', () => {
    const awaitedFor = (takesMs: number) => {
      const offers = new Offers()
      for (let chunk = 0; chunk < 100; chunk++) {
        offers.make('a', 'blob', chunk, chunk)
        offers.asked('a', 'blob', chunk, chunk + takesMs)
      }
      offers.make('a', 'blob', 100, 0)
      return offers.lapsesAt
    }
    expect(awaitedFor(ASK_MS / 4)).toBe(ASK_MS)
    expect(awaitedFor(10 * ASK_MS)).toBeCloseTo(10 * ASK_MS * ASK_TIMES, 0)
    expect(awaitedFor(100 * ASK_LIMIT_MS)).toBe(ASK_LIMIT_MS)
  })
})
