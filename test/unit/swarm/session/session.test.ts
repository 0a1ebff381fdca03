import { describe, expect, it } from 'vitest'
import {
  BUSY_PAUSE_MS,
  DEAD_MS,
  FAILURE_PAUSE_MS,
  LEAST_REQUESTS,
  MAX_CHUNKS_UNDER_WAY,
  MAX_FAILURES,
  MAX_REQUESTS,
  MAX_RUN,
  RATE_WINDOW_MS,
  REQUESTS_PER_PEER,
  RUN_MS,
  SHARED_REQUESTS,
  SILENCE_LIMIT_MS,
  SILENT_CHUNKS,
  SLOW_FACTOR,
  SLOW_MS,
  SOURCE_MS,
  STALL_MS,
} from '../../../../daemon/swarm/session/constants.ts'
import { LinePace } from '../../../../daemon/swarm/session/line-pace.ts'
import { type ChunkRequest, Session } from '../../../../daemon/swarm/session/session.ts'
import { limitsOf } from '../../../../daemon/swarm/session/survey.ts'
import type { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { having } from './fields.ts'

/** A session of which nothing is random, unless its test says how, and what its caller does. */
class Scene {
  readonly held: Bitfield
  readonly pace = new LinePace()
  readonly session: Session

  constructor(
    length: number,
    peers: Record<string, readonly number[]>,
    held: readonly number[] = [],
    random = () => 0.5,
  ) {
    this.held = having(length, ...held)
    this.session = new Session({ held: this.held, random, pace: this.pace, now: 0 })
    this.session.verifiable = length
    for (const [id, chunks] of Object.entries(peers)) this.session.peers.join(id, having(length, ...chunks))
  }

  /** What is asked for, as "peer:chunk" or "peer:first-last". */
  starts(now: number): string[] {
    return this.session.plan(now).start.map(({ peer, first, count }) => {
      return count === 1 ? `${peer}:${first}` : `${peer}:${first}-${first + count - 1}`
    })
  }

  /** Ends what is to be cancelled. @returns of whom it was asked */
  cancels(now: number): string[] {
    const { cancel } = this.session.plan(now)
    const peers = cancel.map((id) => this.session.requests.get(id)?.peer ?? '')
    for (const id of cancel) this.session.ended(id, 'cancelled', now)
    return peers.sort()
  }

  running(peer: string): ChunkRequest {
    const found = [...this.session.requests.values()].find((request) => request.peer === peer)
    if (found === undefined) throw new Error(`nothing is asked of ${peer}`)
    return found
  }

  arrive(peer: string, now: number, chunk = this.running(peer).first): void {
    this.held.set(chunk)
    this.session.arrived(this.running(peer).id, chunkBytes, now)
  }

  /** A request of one chunk is fulfilled. */
  finish(peer: string, now: number): void {
    const { id } = this.running(peer)
    this.arrive(peer, now)
    this.session.ended(id, 'done', now)
  }
}

describe('a session', () => {
  it('asks for what is missing and is done when nothing is', () => {
    const scene = new Scene(3, { a: [0, 1, 2] }, [1])
    expect(scene.starts(0).sort()).toEqual(['a:0', 'a:2'])
    expect(scene.starts(1)).toEqual([])
    scene.finish('a', 10)
    scene.finish('a', 20)
    expect(scene.session.plan(20)).toEqual({ start: [], cancel: [], wakeAt: Number.POSITIVE_INFINITY })
  })

  it('asks for nothing that can not be verified yet', () => {
    const scene = new Scene(3, { a: [0, 1, 2] })
    scene.session.verifiable = 1
    expect(scene.starts(0)).toEqual(['a:0'])
    scene.session.verifiable = 2
    expect(scene.starts(1)).toEqual(['a:1'])
  })

  it('asks for what clients wait for first', () => {
    const scene = new Scene(50, { a: [1, 45], b: [1], c: [1] })
    scene.session.urgent = [45]
    expect(scene.starts(0)[0]).toBe('a:45')
  })

  it('asks for what is rare first, and in order for what half of its peers have', () => {
    const all = Array.from({ length: 40 }, (_, chunk) => chunk)
    const peers = Object.fromEntries(['a', 'b', 'c', 'd'].map((peer) => [peer, all.filter((chunk) => chunk !== 25)]))
    let last = 1
    const falling = () => {
      last -= 0.01
      return last > 0 ? last : 0.5
    }
    const scene = new Scene(40, { ...peers, e: all, f: [] }, [], falling)
    const chunks = scene.session.plan(0).start.map(({ first }) => first)
    expect(chunks).toEqual([25, 0, 1, 2, 3, 4, 5, 6])
  })

  it('has a bounded number of requests under way, of one peer and in all', () => {
    const chunks = Array.from({ length: 64 }, (_, chunk) => chunk)
    const peers = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`p${index}`, chunks]))
    expect(new Scene(64, { a: chunks }).starts(0)).toHaveLength(REQUESTS_PER_PEER)
    expect(new Scene(64, peers).starts(0)).toHaveLength(MAX_REQUESTS)
  })

  it('leaves other sessions of the node their part, and goes on when these leave more', () => {
    const chunks = Array.from({ length: 64 }, (_, chunk) => chunk)
    const { session } = new Scene(64, Object.fromEntries(['a', 'b', 'c', 'd'].map((id) => [id, chunks])))
    const begins = (now: number, requests: number) =>
      session.plan(now, { budget: MAX_CHUNKS_UNDER_WAY, requests, running: 0 }).start.length
    expect(begins(0, -20)).toBe(LEAST_REQUESTS)
    expect(begins(1, 0)).toBe(0)
    expect(begins(2, 3)).toBe(3)
    expect(begins(3, 100)).toBe(MAX_REQUESTS - LEAST_REQUESTS - 3)
  })

  it('asks fast peers for runs, and unknown ones for one chunk', () => {
    const chunks = Array.from({ length: 64 }, (_, chunk) => chunk)
    const scene = new Scene(64, { a: chunks })
    scene.starts(0)
    scene.finish('a', 1)
    const [run] = scene.session.plan(1).start
    expect(run?.count).toBe(Math.min(MAX_RUN, RUN_MS))
  })

  it('plans anew only when something changed', () => {
    const scene = new Scene(4, { a: [] })
    expect(scene.starts(0)).toEqual([])
    expect(scene.starts(1)).toEqual([])
    scene.session.peers.has('a', 3)
    expect(scene.starts(2)).toEqual(['a:3'])
  })

  it('takes up chunks of a request that brought a part only', () => {
    const scene = new Scene(8, { a: [0, 1, 2, 3, 4, 5, 6, 7] })
    scene.starts(0)
    scene.finish('a', 1)
    scene.session.ended(scene.running('a').id, 'failed', 2)
    scene.session.plan(FAILURE_PAUSE_MS + 2)
    const { id, first, count } = scene.running('a')
    expect(count).toBeGreaterThan(1)
    scene.arrive('a', FAILURE_PAUSE_MS + 3)
    scene.session.ended(id, 'absent', FAILURE_PAUSE_MS + 3)
    expect(scene.session.peers.copies(first)).toBe(1)
    expect(scene.session.peers.copies(first + 1)).toBe(0)
  })

  it('leaves a busy peer alone for a moment', () => {
    const scene = new Scene(1, { a: [0] })
    scene.starts(0)
    scene.session.ended(scene.running('a').id, 'busy', 10)
    expect(scene.session.plan(10)).toMatchObject({ start: [], wakeAt: 10 + BUSY_PAUSE_MS })
    expect(scene.starts(10 + BUSY_PAUSE_MS)).toEqual(['a:0'])
  })

  it('turns to another peer when one fails, and gives up who fails again and again', () => {
    const scene = new Scene(1, { a: [0] })
    let now = 0
    for (let times = 0; times < MAX_FAILURES; times++) {
      expect(scene.starts(now)).toEqual(['a:0'])
      scene.session.ended(scene.running('a').id, 'failed', now)
      now += FAILURE_PAUSE_MS * 2 ** times
    }
    expect(scene.session.peers.size).toBe(0)
    scene.session.peers.join('b', having(1, 0))
    expect(scene.starts(now)).toEqual(['b:0'])
  })

  it('asks another peer as well for what takes too long, and cancels what came second', () => {
    const scene = new Scene(8, { a: [0, 1] })
    expect(scene.starts(0).sort()).toEqual(['a:0', 'a:1'])
    scene.session.peers.join('b', having(8, 0, 1))
    for (const { id } of scene.session.requests.values()) scene.session.progress(id, SLOW_MS - 1)
    expect(scene.starts(SLOW_MS - 1)).toEqual([])
    const { wakeAt } = scene.session.plan(SLOW_MS - 1)
    expect(wakeAt).toBe(SLOW_MS + 1)
    expect(scene.starts(wakeAt).sort()).toEqual(['b:0', 'b:1'])
    const late = [...scene.session.requests.values()].find(({ peer, first }) => peer === 'a' && first === 0)
    scene.held.set(0)
    const { cancel } = scene.session.plan(wakeAt + 1)
    expect(cancel).toContain(late?.id)
    expect(cancel).toHaveLength(2)
  })

  it('asks nobody else for what comes slowly as many requests share a slow line, and waits for each longer', () => {
    const scene = new Scene(5, { a: [0, 1, 2, 3], b: [0, 1, 2, 3] }, [4])
    expect(scene.starts(0)).toHaveLength(SHARED_REQUESTS)
    // A chunk takes 20 s, four at once four times as long; and for 9 s all that comes is of one of them.
    const [first] = scene.session.requests.values()
    for (let now = 100; now <= SILENCE_LIMIT_MS; now += 100) {
      scene.pace.received(chunkBytes / 200, now, scene.session.requests.size)
      scene.session.progress(first?.id ?? 0, now)
      expect(scene.session.plan(now)).toMatchObject({ start: [], cancel: [] })
    }
    // As transfers give up soon after.
    expect(limitsOf(undefined, 80_000)).toMatchObject({ stalled: SILENCE_LIMIT_MS, dead: SILENCE_LIMIT_MS })
    expect(scene.session.plan(SILENCE_LIMIT_MS + 1).cancel).toHaveLength(SHARED_REQUESTS - 1)
  })

  it('looks again when nothing came over a slow line for so long that it is not known any more', () => {
    const chunks = [0, 1, 2, 3]
    const scene = new Scene(5, { a: chunks, b: chunks, c: chunks }, [4])
    expect(scene.starts(0)).toHaveLength(SHARED_REQUESTS)
    const last = RATE_WINDOW_MS + 200
    for (let now = 100; now <= last; now += 100) {
      scene.pace.received(chunkBytes / 200, now, scene.session.requests.size)
      for (const { id } of scene.session.requests.values()) scene.session.progress(id, now)
    }
    const { wakeAt } = scene.session.plan(last)
    expect(wakeAt).toBe(last + RATE_WINDOW_MS + 1)
    expect(scene.starts(wakeAt)).not.toEqual([])
  })

  it('asks another peer as well for what one sends slowly from which alone something comes', () => {
    const scene = new Scene(2, { a: [0] }, [1])
    expect(scene.starts(0)).toEqual(['a:0'])
    scene.session.peers.join('b', having(2, 0))
    for (let now = 50; now < SLOW_MS; now += 50) {
      scene.pace.received(1, now, scene.session.requests.size)
      scene.session.progress(scene.running('a').id, now)
      expect(scene.starts(now)).toEqual([])
    }
    expect(scene.starts(SLOW_MS + 1)).toEqual(['b:0'])
  })

  it('takes what others take for a measure of what is too long', () => {
    const scene = new Scene(8, { a: [0] })
    scene.starts(0)
    for (let now = 1000; now < 1000 * 30; now += 1000) {
      scene.arrive('a', now, 1)
      scene.session.progress(scene.running('a').id, now)
    }
    const since = 29_000
    scene.session.peers.join('b', having(8, 2))
    scene.starts(since)
    scene.session.peers.join('c', having(8, 2))
    scene.session.progress(scene.running('b').id, since + SLOW_FACTOR * 900)
    expect(scene.starts(since + SLOW_FACTOR * 900)).toEqual([])
  })

  it('never asks a peer twice for the same chunk, nor three peers', () => {
    const scene = new Scene(8, { a: [0] })
    expect(scene.starts(0)).toEqual(['a:0'])
    expect(scene.starts(STALL_MS + 1)).toEqual([])
    scene.session.peers.join('b', having(8, 0))
    scene.session.peers.join('c', having(8, 0))
    expect(scene.starts(STALL_MS + 2)).toHaveLength(1)
    expect(scene.starts(2 * STALL_MS + 4)).toEqual([])
  })

  it('asks nothing more of who sends nothing, and lets it go in the end', () => {
    const scene = new Scene(8, { a: [0, 1, 2] })
    scene.session.peers.join('b', having(8))
    expect(scene.starts(0)).toHaveLength(2)
    const { id } = scene.running('a')
    scene.session.ended(id, 'done', STALL_MS + 1)
    expect(scene.starts(STALL_MS + 1)).toEqual([])
    let now = DEAD_MS + 1
    expect(scene.cancels(now)).toEqual(['a'])
    for (let failures = 1; failures < MAX_FAILURES; failures++) {
      now += FAILURE_PAUSE_MS * 2 ** (failures - 1)
      expect(scene.starts(now)).toHaveLength(REQUESTS_PER_PEER)
      now += DEAD_MS + 1
      expect(scene.cancels(now)).toEqual(['a', 'a'])
    }
    expect(scene.session.peers.get('a')).toBeUndefined()
    expect(scene.session.requests.size).toBe(0)
  })

  it('gives up nobody because nothing came of anybody for a while, as when its own line is down', () => {
    const scene = new Scene(8, { a: [0, 1], b: [2, 3] })
    expect(scene.starts(0)).toHaveLength(4)
    for (const { id } of scene.session.requests.values()) scene.session.progress(id, 100 + id)
    const now = 200 + DEAD_MS
    expect(scene.cancels(now)).toEqual(['a', 'a', 'b', 'b'])
    expect(scene.starts(now + FAILURE_PAUSE_MS)).toHaveLength(4)
    scene.finish('a', now + FAILURE_PAUSE_MS + 1)
    expect(scene.session.peers.get('a')).toMatchObject({ failures: 0 })
  })

  it('gives up at once who sends nothing while another one does', () => {
    const scene = new Scene(8, { a: [0], b: [1] })
    scene.starts(0)
    scene.session.progress(scene.running('b').id, STALL_MS + 1)
    expect(scene.cancels(DEAD_MS + 1)).toEqual(['a'])
    expect([...scene.session.peers.all()].map(({ id }) => id)).toEqual(['b'])
  })

  it('gives up at once who sends nothing while upstream, or a peer of another blob, does', () => {
    const scene = new Scene(8, { a: [0] })
    scene.starts(0)
    for (let now = 100; now <= DEAD_MS; now += 100) scene.pace.received(chunkBytes, now, 1)
    expect(scene.cancels(DEAD_MS + 1)).toEqual(['a'])
    expect(scene.session.peers.get('a')).toBeUndefined()
  })

  it('bears a grudge against nobody whose request it cancelled for other reasons', () => {
    const scene = new Scene(8, { a: [0] })
    scene.starts(0)
    scene.held.set(0)
    const { cancel } = scene.session.plan(10)
    for (const id of cancel) scene.session.ended(id, 'cancelled', 10)
    expect(scene.session.peers.get('a')).toMatchObject({ load: 0, failures: 0 })
  })

  it('cancels what is asked of a peer that left', () => {
    const scene = new Scene(8, { a: [0], b: [0] })
    const { start } = scene.session.plan(0)
    scene.session.peers.leave(start[0]?.peer ?? '')
    expect(scene.session.plan(1).cancel).toEqual([start[0]?.id])
  })

  it('asks for the last chunks twice, where they take longer than usual', () => {
    const scene = new Scene(2, { a: [0, 1] })
    scene.starts(0)
    scene.finish('a', 100)
    const { since } = { since: 0 }
    scene.session.peers.join('b', having(2, 0, 1))
    expect(scene.starts(since + 101)).toEqual([`b:${scene.running('a').first}`])
  })

  it('ignores what is told of requests that it does not know', () => {
    const scene = new Scene(2, { a: [0, 1] })
    scene.session.progress(9, 0)
    scene.session.arrived(9, 1, 0)
    scene.session.ended(9, 'done', 0)
    expect(scene.session.requests.size).toBe(0)
  })
})

describe('a session is starved', () => {
  it('when there is nothing to ask for, whatever is under way', () => {
    const scene = new Scene(3, { a: [0] })
    expect(scene.session.isStarved).toBe(false)
    scene.starts(0)
    expect(scene.session.isStarved).toBe(true)
    scene.session.peers.has('a', 2)
    expect(scene.session.isStarved).toBe(false)
    scene.session.verifiable = 2
    expect(scene.session.isStarved).toBe(true)
  })

  it('and expects something of a source at its beginning, however long the process has run', () => {
    const session = new Session({ held: having(4), random: () => 0.5, pace: new LinePace(), now: 10 * SOURCE_MS })
    session.peers.join('source', having(4), true)
    session.verifiable = 4
    session.plan(10 * SOURCE_MS + 1)
    expect(session.expects(3)).toBe(true)
  })

  it('and expects of peers what they have, and of a source what it will offer', () => {
    const scene = new Scene(4, { a: [0] })
    scene.session.verifiable = 3
    scene.session.plan(0)
    const expected = () => [0, 1, 2, 3].filter((chunk) => scene.session.expects(chunk))
    expect(expected()).toEqual([0])
    scene.session.peers.join('s', having(4), true)
    expect(expected()).toEqual([0, 1, 2])
    scene.session.plan(SOURCE_MS)
    expect(expected()).toEqual([0])
    scene.session.progress(scene.running('a').id, SOURCE_MS)
    expect(expected()).toEqual([0, 1, 2])
    scene.session.peers.leave('s')
    expect(expected()).toEqual([0])
  })

  it('and quiet only when its line would have brought something, or nobody has it, or nothing is under way', () => {
    const scene = new Scene(4, { a: [0] })
    const chunkMs = 1000
    scene.pace.arrived(chunkMs, 0)
    const isQuiet = (chunks: number, isLineIdle = false) => scene.session.isQuiet(chunks * chunkMs, isLineIdle)
    expect(isQuiet(1)).toBe(true)
    scene.session.peers.join('s', having(4), true)
    expect([isQuiet(1), isQuiet(1, true), isQuiet(SILENT_CHUNKS - 1), isQuiet(SILENT_CHUNKS)]).toEqual([
      false,
      true,
      false,
      true,
    ])
    scene.session.peers.setHolder('nobody here')
    expect(isQuiet(1)).toBe(true)
  })
})
