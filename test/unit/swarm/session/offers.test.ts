import { describe, expect, it } from 'vitest'
import {
  ASK_LIMIT_MS,
  ASK_MS,
  ASK_TIMES,
  MAX_OFFERED,
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
    offers.make('idle', 'blob', 0, 0)
    offers.told('idle', 0)
    offers.told('busy', REQUESTS_ALIKE)
    expect(inOrder(offers, 'busy', 'idle')).toEqual(['idle', 'busy'])
    for (let chunk = 1; chunk <= 2 * REQUESTS_ALIKE; chunk++) offers.make('idle', 'blob', chunk, 0)
    expect(inOrder(offers, 'idle', 'busy')).toEqual(['busy', 'idle'])
    offers.told('idle', REQUESTS_ALIKE - 1)
    expect(inOrder(offers, 'busy', 'idle')).toEqual(['idle', 'busy'])
  })
})

describe('an offer', () => {
  it('is awaited until it is asked for, is not needed any more, or has lapsed', () => {
    const offers = new Offers()
    expect(offers.lapsesAt(0)).toBe(Number.POSITIVE_INFINITY)
    for (const [chunk, at] of [0, 10, 20].entries()) offers.make('a', 'blob', chunk, at)
    offers.make('a', 'another blob', 1, 30)
    expect(offers.awaited(30)).toBe(4)
    offers.drop('a', 'blob', 2)
    offers.asked('a', 'blob', 1, 31)
    expect(offers.awaited(31)).toBe(2)
    expect(offers.lapsesAt(31)).toBe(ASK_MS)
    expect(offers.awaited(ASK_MS)).toBe(1)
    expect(offers.awaited(30 + ASK_MS)).toBe(0)
  })

  it('is awaited for longer where questions take longer, up to a limit', () => {
    const awaitedFor = (takesMs: number) => {
      const offers = new Offers()
      for (let chunk = 0; chunk < 100; chunk++) {
        offers.make('a', 'blob', chunk, chunk)
        offers.asked('a', 'blob', chunk, chunk + takesMs)
      }
      offers.make('a', 'blob', 100, 0)
      return offers.lapsesAt(0)
    }
    expect(awaitedFor(ASK_MS / 4)).toBe(ASK_MS)
    expect(awaitedFor(10 * ASK_MS)).toBeCloseTo(10 * ASK_MS * ASK_TIMES, 0)
    expect(awaitedFor(1.9 * ASK_LIMIT_MS)).toBe(ASK_LIMIT_MS)
  })

  it('that was asked for as late as nobody waits teaches nothing', () => {
    const offers = new Offers()
    offers.make('a', 'blob', 0, 0)
    expect(offers.awaited(2 * ASK_LIMIT_MS)).toBe(0)
    offers.asked('a', 'blob', 0, 2 * ASK_LIMIT_MS)
    offers.make('a', 'blob', 1, 0)
    expect(offers.lapsesAt(0)).toBe(ASK_MS)
  })
})
