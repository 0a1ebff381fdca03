import { describe, expect, it } from 'vitest'
import {
  BUSY_PAUSE_LIMIT_MS,
  BUSY_PAUSE_MS,
  FAILURE_PAUSE_MS,
  LAGGARD_FACTOR,
  MAX_FAILURES,
} from '../../../../daemon/swarm/session/constants.ts'
import { PeerTable, type SessionPeer } from '../../../../daemon/swarm/session/peer-table.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { having } from './fields.ts'

const length = 8
const none: ReadonlySet<string> = new Set()

function tableOf(peers: Record<string, readonly number[]>): PeerTable {
  const table = new PeerTable(new Bitfield(length))
  for (const [id, chunks] of Object.entries(peers)) table.join(id, having(length, ...chunks))
  return table
}

function known(table: PeerTable, id: string): SessionPeer {
  const peer = table.get(id)
  if (peer === undefined) throw new Error(`${id} is not in the table`)
  return peer
}

describe('the table of peers', () => {
  it('counts copies as peers join, get, lose, are replaced and leave', () => {
    const table = tableOf({ a: [1, 2], b: [2] })
    const copies = () => [1, 2, 3].map((chunk) => table.copies(chunk))
    expect(copies()).toEqual([1, 2, 0])
    table.has('b', 3)
    table.has('b', 3)
    expect(copies()).toEqual([1, 2, 1])
    table.lacks('a', 2)
    table.lacks('a', 2)
    expect(copies()).toEqual([1, 1, 1])
    table.join('a', having(length, 3))
    expect(copies()).toEqual([0, 1, 2])
    table.leave('b')
    table.leave('b')
    expect(copies()).toEqual([0, 0, 1])
    expect(table.size).toBe(1)
  })

  it('takes no news of peers that it does not know, and no bitfield of another size', () => {
    const table = tableOf({})
    table.has('a', 1)
    expect(table.copies(1)).toBe(0)
    expect(() => table.join('a', new Bitfield(length + 1))).toThrow('speaks of 9 chunks, not 8')
  })

  it('keeps what it knows of a peer that joins again', () => {
    const table = tableOf({ a: [1] })
    table.measured(known(table, 'a'), 1e6, 1000)
    table.join('a', having(length, 2))
    expect(known(table, 'a').rate).toBe(1e6)
  })

  it('says when there is news of what is not held', () => {
    const table = new PeerTable(having(length, 1))
    table.join('a', new Bitfield(length))
    const { version } = table
    table.has('a', 1)
    expect(table.version).toBe(version)
    table.has('a', 2)
    expect(table.version).toBeGreaterThan(version)
  })

  it('asks the holder only for what nobody else has', () => {
    const table = tableOf({ a: [1, 2], b: [2] })
    table.setHolder('a')
    expect(table.isCommon(1, none)).toBe(false)
    expect(table.isCommon(2, none)).toBe(true)
    expect(table.isCommon(2, new Set(['b']))).toBe(false)
    table.setHolder(undefined)
    expect(table.isCommon(1, none)).toBe(true)
  })

  it('remembers who was the holder, as one that has more than it told', () => {
    const table = tableOf({ a: [1], b: [] })
    expect(table.hasSource).toBe(false)
    table.setHolder('a')
    table.setHolder('b')
    expect(known(table, 'a')).toMatchObject({ isHolder: false, isSource: true })
    table.leave('a')
    table.leave('b')
    expect(table.hasSource).toBe(false)
  })

  it('takes those that say so, or show everything, for sources', () => {
    const table = tableOf({ a: [1] })
    table.join('b', having(length, 1), true)
    table.join('c', Bitfield.full(length))
    expect(['a', 'b', 'c'].map((id) => known(table, id).isSource)).toEqual([false, true, true])
  })

  it('does not take what is said to be complete for a sign that a chunk is on its way through the swarm', () => {
    const table = tableOf({ a: [1] })
    table.join('liar', Bitfield.full(length))
    expect([1, 2].map((chunk) => table.isBeingSpread(chunk))).toEqual([true, false])
  })

  it('leaves peers for the last that are slower by far', () => {
    const table = tableOf({ a: [1], b: [1] })
    table.measured(known(table, 'a'), 1e6 * (LAGGARD_FACTOR + 1), 1000)
    table.measured(known(table, 'b'), 1e6, 1000)
    expect(table.isLast(known(table, 'a'))).toBe(false)
    expect(table.isLast(known(table, 'b'))).toBe(true)
  })

  it('smooths rates, and takes the mean for those that are not known', () => {
    const table = tableOf({ a: [], b: [] })
    expect(table.typicalRate).toBe(1)
    table.measured(known(table, 'a'), 1000, 1000)
    table.measured(known(table, 'a'), 2000, 1000)
    expect(known(table, 'a').rate).toBeGreaterThan(1000)
    expect(known(table, 'a').rate).toBeLessThan(2000)
    table.measured(known(table, 'b'), 3000, 1000)
    expect(table.typicalRate).toBeCloseTo(((known(table, 'a').rate ?? 0) + 3000) / 2)
  })

  it('lets busy peers rest for longer each time, up to a limit', () => {
    const table = tableOf({ a: [] })
    const peer = known(table, 'a')
    table.busy(peer, 1000, 0.5)
    expect(peer.restUntil).toBe(1000 + BUSY_PAUSE_MS)
    table.busy(peer, 1000, 0.5)
    expect(peer.restUntil).toBe(1000 + 2 * BUSY_PAUSE_MS)
    for (let times = 0; times < 20; times++) table.busy(peer, 1000, 0.5)
    expect(peer.restUntil).toBe(1000 + BUSY_PAUSE_LIMIT_MS)
    table.measured(peer, 1, 1)
    table.busy(peer, 1000, 0.5)
    expect(peer.restUntil).toBe(1000 + BUSY_PAUSE_MS)
  })

  it('lets peers that fail rest, and gives them up in the end', () => {
    const table = tableOf({ a: [1] })
    const peer = known(table, 'a')
    table.failed(peer, 0)
    expect(peer.restUntil).toBe(FAILURE_PAUSE_MS)
    for (let times = 1; times < MAX_FAILURES; times++) table.failed(peer, 0)
    expect(table.get('a')).toBeUndefined()
    expect(table.copies(1)).toBe(0)
  })

  it('expects nothing of those that are only busy, until they give something', () => {
    const table = tableOf({ a: [1] })
    const peer = known(table, 'a')
    table.busy(peer, 0, 0.5)
    expect(table.expects(1)).toBe(true)
    for (let times = 0; times < 20; times++) table.busy(peer, 0, 0.5)
    expect([table.expects(1), table.copies(1)]).toEqual([false, 1])
    table.measured(peer, 1, 1)
    expect(table.expects(1)).toBe(true)
  })

  it('takes those that come back for what they were', () => {
    const table = tableOf({ a: [1] })
    for (let times = 0; times < MAX_FAILURES; times++) table.failed(known(table, 'a'), 0)
    table.join('a', having(length, 1))
    expect(known(table, 'a')).toMatchObject({ failures: MAX_FAILURES, load: 0 })
    expect([table.copies(1), table.expects(1)]).toEqual([1, false])
    table.failed(known(table, 'a'), 0)
    expect(table.get('a')).toBeUndefined()
    table.join('a', having(length, 1))
    table.measured(known(table, 'a'), 1, 1)
    expect(table.expects(1)).toBe(true)
  })
})
