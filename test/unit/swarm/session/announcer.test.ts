import { describe, expect, it } from 'vitest'
import { Announcer } from '../../../../daemon/swarm/session/announcer.ts'
import {
  ASK_MS,
  LIST_MS,
  LIST_MS_EACH,
  MANY_UNASKED,
  MAX_UNASKED,
  MIN_OVERTAKEN,
  MIN_UPLOADS,
  OFFER_LAST_MS,
  OFFER_LIMIT_MS,
  OFFER_MS,
  OFFER_UNASKED_MS,
  ONLY_PEER_OFFERS,
  REQUESTS_ALIKE,
  SCARCE_UPLOADS,
  SPREAD_TIMES,
} from '../../../../daemon/swarm/session/constants.ts'
import { Offers } from '../../../../daemon/swarm/session/offers.ts'
import { PeerTable } from '../../../../daemon/swarm/session/peer-table.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { having } from './fields.ts'

const length = 40

class Scene {
  readonly held: Bitfield
  readonly peers: PeerTable
  readonly announcer: Announcer
  readonly offers: Offers
  readonly blob: string
  /** Chunks that are being sent. */
  sending = 1

  constructor(peers: readonly string[], held: readonly number[] = [], offers = new Offers(), blob = 'blob') {
    this.offers = offers
    this.blob = blob
    this.held = having(length, ...held)
    this.peers = new PeerTable(this.held)
    this.announcer = new Announcer({ blob, held: this.held, peers: this.peers, offers })
    for (const peer of peers) this.join(peer)
  }

  join(peer: string, chunks: readonly number[] = []): Bitfield {
    this.peers.join(peer, having(length, ...chunks))
    return this.announcer.introduce(peer)
  }

  got(chunk: number, from?: string): void {
    this.held.set(chunk)
    this.announcer.got(chunk, from)
  }

  heard(peer: string, chunk: number): boolean {
    this.peers.has(peer, chunk)
    return this.announcer.heard(peer, chunk)
  }

  /** What is told, as "peer:chunk". */
  tells(now: number, free: number): string[] {
    // Few chunks are here, so that few are sent at the same time.
    return this.announcer
      .plan(now, free + MIN_UPLOADS - SCARCE_UPLOADS, this.sending)
      .tell.flatMap(({ peer, chunks }) => chunks.map((chunk) => `${peer}:${chunk}`))
  }
}

describe('the announcer', () => {
  it('offers what came from upstream to one peer, and to the next one when that takes too long', () => {
    const scene = new Scene(['a', 'b', 'c'])
    scene.got(0)
    expect(scene.tells(0, 6)).toEqual(['a:0'])
    expect(scene.tells(ASK_MS, 6)).toEqual([])
    const { wakeAt } = scene.announcer.plan(ASK_MS, 6, 1)
    expect(wakeAt).toBeGreaterThanOrEqual(OFFER_MS)
    expect(wakeAt).toBeLessThanOrEqual(OFFER_LIMIT_MS)
    expect(scene.tells(wakeAt, 6)).toEqual(['b:0'])
  })

  it('tells a peer that sent what it had not offered that it arrived', () => {
    const scene = new Scene(['a', 'b'])
    scene.got(0, 'b')
    expect(scene.tells(0, 0)).toContain('b:0')
  })

  it('offers different chunks to different peers, and not to those first that let others wait', () => {
    const scene = new Scene(['slow', 'a', 'b'])
    scene.got(0)
    expect(scene.tells(0, 6)).toEqual(['slow:0'])
    scene.got(1)
    scene.got(2)
    expect(scene.tells(1, 6)).toEqual(['a:1', 'b:2'])
    scene.announcer.served('a', 1, 10)
    scene.announcer.served('b', 2, 10)
    scene.got(3)
    scene.got(4)
    expect(scene.tells(11, 6)).toEqual(['a:3', 'b:4'])
    // All have something to fetch now: the one that was offered something the longest ago.
    scene.got(5)
    expect(scene.tells(12, 6)).toEqual(['slow:5'])
  })

  it('gives each peer its turn, whichever blob it is for', () => {
    const offers = new Offers()
    const ids = ['a', 'b', 'c', 'd']
    const blobs = [new Scene(ids, [], offers, 'one'), new Scene(ids, [], offers, 'other')]
    const told: string[] = []
    for (const chunk of [0, 1]) {
      for (const blob of blobs) {
        blob.got(chunk)
        told.push(...blob.tells(chunk, 6))
      }
    }
    expect(told).toEqual(['a:0', 'b:0', 'c:1', 'd:1'])
  })

  it('offers at once to another peer what was offered to one that left', () => {
    const scene = new Scene(['a', 'b'])
    scene.got(0)
    expect(scene.tells(0, 6)).toEqual(['a:0'])
    scene.peers.leave('a')
    scene.announcer.leave('a')
    expect(scene.tells(ASK_MS, 6)).toEqual(['b:0'])
  })

  it('offers to another peer, before all that is new, what others have overtaken on its way to a slow one', () => {
    const scene = new Scene(['slow', 'a', 'b', 'c'])
    scene.got(0)
    expect(scene.tells(0, 6)).toEqual(['slow:0'])
    for (let chunk = 1; chunk <= MIN_OVERTAKEN; chunk++) {
      scene.got(chunk)
      const [told = ''] = scene.tells(chunk, 6)
      expect(told).toMatch(new RegExp(`^[abc]:${chunk}$`))
      scene.offers.asked(told.slice(0, 1), scene.blob, chunk, chunk)
      scene.announcer.served(told.slice(0, 1), chunk, chunk)
    }
    scene.got(MIN_OVERTAKEN + 1)
    const [first, second] = scene.tells(MIN_OVERTAKEN + 1, 6)
    expect(first).toMatch(/^[abc]:0$/)
    expect(second).toMatch(new RegExp(`^[abc]:${MIN_OVERTAKEN + 1}$`))
    // It comes last until it has got something.
    const next = MIN_OVERTAKEN + 2
    for (const peer of ['a', 'b', 'c']) scene.announcer.served(peer, peer === first?.slice(0, 1) ? 0 : next - 1, next)
    scene.got(next)
    expect(scene.tells(next, 6)[0]).toMatch(new RegExp(`^[abc]:${next}$`))
  })

  it('tells all peers the checkpoints of what came from upstream, now and then', () => {
    const scene = new Scene(['a', 'b', 'c'])
    const told = (now: number, free: number) =>
      new Map(scene.announcer.plan(now, free, 1).tell.map(({ peer, chunks }) => [peer, chunks]))
    scene.got(0)
    const [first = ''] = [...told(0, MIN_UPLOADS)].filter(([, chunks]) => chunks.includes(0)).map(([peer]) => peer)
    expect(first).not.toBe('')
    scene.offers.asked(first, scene.blob, 0, 0)
    scene.got(1)
    scene.got(2, 'b')
    expect(scene.announcer.plan(1, 0, 1)).toMatchObject({ tell: [{ peer: 'b', chunks: [2] }], wakeAt: LIST_MS })
    expect(told(LIST_MS, 0)).toEqual(
      new Map([
        ['a', []],
        ['c', []],
      ]),
    )
    expect(told(2 * LIST_MS, 0)).toEqual(new Map())
    // Who was told of a chunk from a peer lacks nothing.
    scene.got(3, 'b')
    expect(told(3 * LIST_MS, 0)).toEqual(new Map([['b', [3]]]))
  })

  it('tells checkpoints more seldom where peers are many, and not to who has left', () => {
    const scene = new Scene(Array.from({ length: LIST_MS / LIST_MS_EACH + 9 }, (_, peer) => String(peer)))
    scene.got(0)
    scene.announcer.plan(0, 0, 1)
    scene.got(1)
    scene.announcer.leave('0')
    const after = LIST_MS + 8 * LIST_MS_EACH
    expect(scene.announcer.plan(LIST_MS, 0, 1)).toEqual({ tell: [], wakeAt: after })
    expect(scene.announcer.plan(after, 0, 1).tell.map(({ peer }) => peer)).not.toContain('0')
  })

  it('tells of a chunk that came from a peer as fast as there is room', () => {
    const scene = new Scene(['a', 'b', 'c', 'd'])
    scene.heard('a', 0)
    scene.got(0, 'a')
    const told = [...scene.tells(0, 1), ...scene.tells(1, 1), ...scene.tells(2, 1)]
    // One that was told counts as sent to until it has asked, or has had the time to.
    expect(new Set(told).size).toBe(told.length)
    // The sender is told as well: that is how it knows that the chunk has arrived.
    expect(told).toContain('a:0')
    expect(scene.tells(3, -5)).toEqual([])
    const later = [...Array(5)].flatMap((_, times) => scene.tells((times + 1) * (ASK_MS + 1), 6))
    expect([...told, ...later].sort()).toEqual(['a:0', 'b:0', 'c:0', 'd:0'])
  })

  it('has room again when a peer asks, which is then counted among the uploads', () => {
    const scene = new Scene(['a', 'b', 'c'])
    scene.heard('a', 0)
    scene.got(0, 'a')
    const free = 1
    expect(scene.tells(0, free)).toEqual(['a:0', 'b:0'])
    expect(scene.tells(1, free)).toEqual([])
    scene.offers.asked('b', scene.blob, 0, 1)
    expect(scene.tells(2, free)).toEqual(['c:0'])
  })

  it('offers fewer at once while few chunks are here, so that each is there soon and can be passed on', () => {
    const offered = (held: number) => {
      const scene = new Scene(['a', 'b', 'c'])
      // What is here already is no news.
      for (let chunk = 0; chunk < held; chunk++) for (const peer of ['a', 'b', 'c']) scene.heard(peer, chunk)
      for (let chunk = 0; chunk < held; chunk++) scene.held.set(chunk)
      scene.heard('a', held)
      scene.got(held, 'a')
      const { tell } = scene.announcer.plan(0, 1, 1)
      return tell.flatMap(({ peer, chunks }) => chunks.map((chunk) => `${peer}:${chunk}`))
    }
    expect(offered(MIN_UPLOADS)).toContain(`b:${MIN_UPLOADS}`)
    expect(offered(SCARCE_UPLOADS)).toEqual([`a:${SCARCE_UPLOADS}`])
  })

  it('has one chunk on offer at least, however many of another blob are', () => {
    const offers = new Offers()
    const many = Array.from({ length }, (_, chunk) => chunk)
    const only = new Scene(['slow'], many, offers, 'one')
    const other = new Scene(['a', 'b'], [], offers, 'other')
    expect(only.tells(0, 0).length).toBeGreaterThanOrEqual(ONLY_PEER_OFFERS)
    for (const chunk of [0, 1]) other.got(chunk)
    expect(other.tells(1, -20)).toEqual([])
    other.sending = 0
    expect(other.tells(1, -20)).toEqual(['a:0'])
    expect(other.tells(1, -20)).toEqual([])
  })

  it('is woken when what was offered of another blob has lapsed, where there is no room before', () => {
    const offers = new Offers()
    const many = Array.from({ length }, (_, chunk) => chunk)
    const silent = new Scene(['silent'], many, offers, 'one')
    const other = new Scene(['a', 'b'], many, offers, 'other')
    const free = MIN_UPLOADS - 1
    expect(silent.announcer.plan(0, free, 0).wakeAt).toBe(ASK_MS)
    // One upload of it takes long.
    expect(other.announcer.plan(1, 1, 0).tell).toHaveLength(1)
    const { tell, wakeAt } = other.announcer.plan(1, 1, 1)
    expect([tell, wakeAt]).toEqual([[], ASK_MS])
    expect(other.announcer.plan(wakeAt, free, 1).tell).not.toEqual([])
  })

  it('leaves room for what the peers of another blob were offered, but not for one that asks for nothing', () => {
    const offers = new Offers()
    const many = Array.from({ length }, (_, chunk) => chunk)
    const silent = new Scene(['silent'], many, offers, 'one')
    const other = new Scene(['a', 'b'], many, offers, 'other')
    const offered = (now: number) => other.announcer.plan(now, 6, 1).tell.flatMap(({ chunks }) => chunks)
    expect(silent.tells(0, MIN_UPLOADS).length).toBeLessThan(MANY_UNASKED)
    expect(offered(1)).toEqual([])
    expect(silent.tells(ASK_MS, MIN_UPLOADS)).not.toEqual([])
    expect(offered(ASK_MS)).toHaveLength(6)
  })

  it('has half of what is free where it still arrives, whatever the peers of another blob do', () => {
    const offers = new Offers()
    const many = Array.from({ length }, (_, chunk) => chunk)
    const complete = new Scene(['a'], many, offers, 'one')
    const other = new Scene(['a', 'b'], many.slice(1), offers, 'other')
    expect(complete.tells(0, MIN_UPLOADS)).not.toEqual([])
    expect(other.announcer.plan(1, 6, 1).tell.flatMap(({ chunks }) => chunks)).toHaveLength(3)
  })

  it('offers no more of any blob to a peer that asks for nothing, until it asks, or that is long ago', () => {
    const offers = new Offers()
    const many = Array.from({ length }, (_, chunk) => chunk)
    const count = Math.ceil(MAX_UNASKED / length) + 1
    const scenes = Array.from({ length: count }, (_, blob) => new Scene(['silent'], many, offers, String(blob)))
    const rounds = Array.from({ length: 9 }, (_, round) => round * ASK_MS)
    const told = rounds.flatMap((now) => scenes.flatMap((scene) => scene.tells(now, MIN_UPLOADS)))
    expect(told).toHaveLength(MAX_UNASKED)
    const last = scenes.at(-1)
    const now = rounds.at(-1) ?? 0
    const { tell, wakeAt } = last?.announcer.plan(now, MIN_UPLOADS, 0) ?? {}
    expect([tell, wakeAt]).toEqual([[], now + OFFER_UNASKED_MS])
    offers.asked('silent', '0', 0, now)
    expect(last?.tells(now, MIN_UPLOADS)).toHaveLength(1)
    last?.join('other')
    expect(last?.tells(now, MIN_UPLOADS)[0]).toMatch(/^other:/)
    last?.announcer.leave('other')
    expect(last?.tells(now, MIN_UPLOADS)).toEqual([])
    expect(last?.tells(now + 2 * OFFER_UNASKED_MS, MIN_UPLOADS)).not.toEqual([])
  })

  it('offers to another peer sooner what has not even been asked for', () => {
    const isOfferedAgain = (isAsked: boolean, after: number, isComplete = false) => {
      const scene = new Scene(['a', 'b'])
      let now = 0
      // Chunks take long here.
      for (let chunk = 1; chunk < 30; chunk++) {
        scene.got(chunk)
        for (const told of scene.tells(now, 6)) scene.announcer.served(told.slice(0, 1), chunk, now + OFFER_LIMIT_MS)
        now += 2 * OFFER_LIMIT_MS
      }
      if (isComplete) for (let chunk = 30; chunk < length; chunk++) scene.held.set(chunk)
      scene.got(0)
      const [peer = ''] = scene.tells(now, 6).map((told) => told.slice(0, 1))
      if (isAsked) scene.offers.asked(peer, scene.blob, 0, now)
      const other = peer === 'a' ? 'b' : 'a'
      return scene.tells(now + after, 6).includes(`${other}:0`)
    }
    expect([false, true].map((isAsked) => isOfferedAgain(isAsked, OFFER_UNASKED_MS))).toEqual([true, false])
    // All wait for the last chunks of a blob.
    expect(isOfferedAgain(false, OFFER_LAST_MS)).toBe(false)
    expect(isOfferedAgain(false, OFFER_LAST_MS, true)).toBe(true)
    expect(isOfferedAgain(true, OFFER_LAST_MS, true)).toBe(false)
  })

  it('offers what a peer has got to another one later, but for a blob of which nothing more arrives', () => {
    const againAfter = (isComplete: boolean, hasPeer: boolean) => {
      const scene = new Scene(['a', 'b', 'c'])
      if (isComplete) for (let chunk = 0; chunk < length; chunk++) scene.held.set(chunk)
      scene.got(0)
      expect(scene.tells(0, 6)).toEqual(['a:0'])
      scene.offers.asked('a', scene.blob, 0, 0)
      if (hasPeer) scene.peers.has('a', 0)
      return scene.announcer.plan(1, 6 + MIN_UPLOADS, 1).wakeAt
    }
    const early = againAfter(false, false)
    expect(early).toBeGreaterThanOrEqual(OFFER_MS)
    expect(againAfter(false, true)).toBe(SPREAD_TIMES * early)
    expect(againAfter(true, true)).toBe(early)
  })

  it('offers first to peers that have few requests under way', () => {
    const scene = new Scene(['busy', 'idle'])
    scene.offers.told('busy', 2 * REQUESTS_ALIKE)
    scene.offers.told('idle', 0)
    scene.got(0)
    expect(scene.tells(0, 6)).toEqual(['idle:0'])
  })

  it('does not tell peers of what they have, but once those that would offer it', () => {
    const scene = new Scene(['a', 'b'])
    expect(scene.heard('a', 0)).toBe(false)
    expect(scene.heard('b', 0)).toBe(false)
    scene.got(0, 'a')
    expect(scene.tells(0, 0)).toEqual(['a:0', 'b:0'])
    expect(scene.heard('b', 0)).toBe(false)
    expect(scene.tells(ASK_MS, 6)).toEqual([])
  })

  it('answers at once who tells of what is held', () => {
    const scene = new Scene(['a', 'b'])
    scene.got(0)
    scene.tells(0, 6)
    expect(scene.heard('b', 0)).toBe(true)
    expect(scene.tells(1, -10)).toEqual(['b:0'])
  })

  it('shows a new peer what others have, and keeps back what it will offer', () => {
    const scene = new Scene([], [0, 1, 2, 3])
    scene.join('a', [1])
    expect([...scene.join('b').indexes()]).toEqual([1])
    const told = [...Array(20)].flatMap((_, times) => scene.tells(times * OFFER_LIMIT_MS, 6))
    expect(told).toContain('b:0')
    expect(new Set(told).size).toBe(told.length)
  })

  it('does not believe that a chunk is on its way because one says that it has everything', () => {
    const scene = new Scene(['a', 'b'])
    scene.peers.join('liar', Bitfield.full(length))
    scene.announcer.introduce('liar')
    scene.got(0)
    // The liar is told that it need not offer it.
    expect(scene.tells(0, 6).sort()).toEqual(['a:0', 'liar:0'])
    expect(scene.tells(ASK_MS, 6)).toEqual([])
  })

  it('tells an only peer of many chunks at once', () => {
    const scene = new Scene(
      ['a'],
      Array.from({ length }, (_, chunk) => chunk),
    )
    expect(scene.tells(0, 6).length).toBeGreaterThanOrEqual(ONLY_PEER_OFFERS)
  })

  it('has everybody told in the end, and nobody twice', () => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    const scene = new Scene(ids)
    for (const chunk of [0, 1, 2]) scene.got(chunk)
    const told: string[] = []
    for (let now = 0; now < 100 * OFFER_LIMIT_MS; now += OFFER_LIMIT_MS) told.push(...scene.tells(now, 3))
    expect(told.sort()).toEqual(ids.flatMap((id) => [0, 1, 2].map((chunk) => `${id}:${chunk}`)).sort())
    expect(scene.announcer.plan(1e9, 6, 1)).toEqual({ tell: [], wakeAt: Number.POSITIVE_INFINITY })
  })
})
