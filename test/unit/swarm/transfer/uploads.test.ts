import { describe, expect, it, vi } from 'vitest'
import { MIN_UPLOAD_RATE, PEER_SHARE, UPLOAD_GRACE_MS } from '../../../../daemon/swarm/transfer/constants.ts'
import { Uploads } from '../../../../daemon/swarm/transfer/uploads.ts'

const piece = 2 * MIN_UPLOAD_RATE
const pieceMs = UPLOAD_GRACE_MS + 2000

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

  it('to a peer that takes little at a time end when others wait, the latest one first', () => {
    const { uploads, places, cut, pass } = full()
    places[1]?.writing(piece)
    pass(1)
    places[2]?.writing(piece)
    pass(pieceMs + 1)
    expect(cut()).toEqual([])
    uploads.begin('late', () => {})
    expect(cut()).toEqual([1])
    places[1]?.end()
    expect(uploads.begin('late', () => {})).toBeDefined()
    uploads.begin('later', () => {})
    expect(cut()).toEqual([1, 2])
  })

  it('to peers that take what they are given go on, and those that wait for content', () => {
    const { uploads, places, cut, pass } = full()
    for (let times = 0; times < 5; times++) {
      places[0]?.writing(piece)
      pass(pieceMs - 1)
      uploads.begin('late', () => {})
      places[0]?.written()
      pass(60_000)
      uploads.begin('late', () => {})
    }
    expect(cut()).toEqual([])
  })

  it('are not ended because of one that has its share already', () => {
    const { uploads, places, cut, pass } = full()
    places[0]?.writing(piece)
    pass(pieceMs + 1)
    uploads.begin('peer 1', () => {})
    expect(cut()).toEqual([])
  })
})
