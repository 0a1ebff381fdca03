import { describe, expect, it, vi } from 'vitest'
import { PEER_SHARE, TAKING_PATIENCE_MS } from '../../../../daemon/swarm/transfer/constants.ts'
import { Uploads } from '../../../../daemon/swarm/transfer/uploads.ts'

/** Uploads of as many peers as there are places, and what cuts each of them. */
function full() {
  let now = 0
  const uploads = new Uploads(PEER_SHARE, () => now)
  const cuts = Array.from({ length: PEER_SHARE }, () => vi.fn())
  const places = cuts.map((cut, index) => {
    const place = uploads.begin(`peer ${index}`, cut)
    if (place === undefined) throw new Error('no place')
    return place
  })
  const cut = () => cuts.flatMap(({ mock }, index) => (mock.calls.length > 0 ? [index] : []))
  const pass = (ms: number) => {
    now += ms
  }
  return { uploads, places, cut, pass }
}

describe('uploads', () => {
  it('are bounded for all, and for each peer to its share', () => {
    const uploads = new Uploads(2 * PEER_SHARE)
    const begin = (peer: string) => uploads.begin(peer, () => {}) !== undefined
    expect([begin('a'), begin('a'), begin('a')]).toEqual([true, true, false])
    const { uploads: taken, places } = full()
    expect(taken.begin('late', () => {})).toBeUndefined()
    places[0]?.end()
    expect(taken.begin('late', () => {})).toBeDefined()
  })

  it('to a peer that takes nothing go to one that waits, the most silent one first', () => {
    const { uploads, places, cut, pass } = full()
    places[1]?.writing()
    pass(1)
    places[2]?.writing()
    pass(TAKING_PATIENCE_MS + 1)
    expect(cut()).toEqual([])
    expect(uploads.begin('late', () => {})).toBeDefined()
    expect(cut()).toEqual([1])
    expect(uploads.begin('later', () => {})).toBeDefined()
    expect(cut()).toEqual([1, 2])
    expect(uploads.begin('last', () => {})).toBeUndefined()
  })

  it('to peers that take what they are given go on, and those that wait for content', () => {
    const { uploads, places, cut, pass } = full()
    for (let times = 0; times < 5; times++) {
      places[0]?.writing()
      pass(TAKING_PATIENCE_MS)
      uploads.begin('late', () => {})
      places[0]?.written()
      pass(60_000)
      uploads.begin('late', () => {})
    }
    expect(cut()).toEqual([])
  })

  it('of peers with many go to those with none, however fast they are taken', () => {
    const limit = 8 * PEER_SHARE
    const uploads = new Uploads(limit)
    const cuts: number[] = []
    for (let place = 0; place < limit; place++) uploads.begin(`peer ${place % PEER_SHARE}`, () => cuts.push(place))
    const begin = (peer: string) => uploads.begin(peer, () => cuts.push(-1)) !== undefined
    expect(Array.from({ length: 8 }, () => begin('honest'))).toEqual([...Array(6).fill(true), false, false])
    expect(new Set(cuts).size).toBe(6)
    expect(cuts).not.toContain(-1)
  })

  it('are not ended because of one that has its share already', () => {
    const { uploads, places, cut, pass } = full()
    places[0]?.writing()
    pass(TAKING_PATIENCE_MS + 1)
    uploads.begin('peer 1', () => {})
    expect(cut()).toEqual([])
  })
})
