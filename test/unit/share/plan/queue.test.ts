import { describe, expect, it } from 'vitest'
import type { Want } from '../../../../daemon/share/plan/messages.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { ClaimQueue, type Telling } from '../../../../daemon/share/plan/queue.ts'
import { cpuTime } from '../../../fixtures/cpu.ts'

const { headLateMs, renewMs, quarters } = NUMBERS

class Scene {
  now = 0
  /** Peers from which nobody can fetch. */
  readonly closed = new Set<string>()
  readonly queue = new ClaimQueue(
    NUMBERS,
    () => 0,
    () => undefined,
    (peer) => !this.closed.has(peer),
  )

  /** @returns who is told which role */
  want(from: string, wish: Want['wish'], chunks = 0, recorded?: readonly string[]): string[] {
    return this.#told(this.turns(from, wish, chunks, recorded))
  }

  turns(from: string, wish: Want['wish'], chunks = 0, recorded?: readonly string[], sought = 0): readonly Telling[] {
    const wants = [{ blob: 'b', brought: chunks * quarters, wish, sought }]
    const known = new Map(recorded === undefined ? [] : [['b', recorded]])
    return this.queue.step({ kind: 'wants', from, wants, recorded: known }, this.now)
  }

  left(peer: string): string[] {
    return this.#told(this.queue.step({ kind: 'left', peer }, this.now))
  }

  at(ms: number): string[] {
    this.now = ms
    return this.#told(this.queue.step({ kind: 'wake' }, ms))
  }

  #told(tellings: readonly Telling[]): string[] {
    return [...new Set(tellings.map(({ to, turn: { role } }) => `${to} ${role}`))]
  }
}

describe('the claim queue', () => {
  it('has the first one read, and the others wait', () => {
    const scene = new Scene()
    expect(scene.want('p', 'part')).toEqual(['p head'])
    expect(scene.want('q', 'part')).toEqual(['q none'])
  })

  it('has a head from which nobody can fetch give way, and does not name it', () => {
    const scene = new Scene()
    scene.closed.add('p')
    expect(scene.want('p', 'part')).toEqual(['p head'])
    expect(scene.want('q', 'part')).toEqual(['p none', 'q head'])
    expect(scene.turns('r', 'part').map(({ turn }) => turn.members)).toEqual([['q']])
    scene.want('p', 'done')
    expect(scene.turns('s', 'part').map(({ turn }) => turn.members)).toEqual([['q', 'r']])
    expect(scene.left('q')).toEqual(['r head'])
  })

  it.each([
    ['left', (scene: Scene) => scene.left('p')],
    ['can not read', (scene: Scene) => scene.want('p', 'unable')],
  ])('has the next one read at once when the head has %s', (_what, event) => {
    const scene = new Scene()
    for (const peer of ['p', 'q', 'r']) scene.want(peer, 'part')
    expect(event(scene)).toContain('q head')
  })

  it('forgets holders of which it has not heard for long: nobody says that one has gone which is not connected', () => {
    const scene = new Scene()
    const named = () => scene.turns('q', 'soon', 0, undefined, 24).flatMap(({ turn }) => turn.members)
    scene.want('p', 'done')
    scene.now = 500_000
    scene.want('r', 'done')
    expect(named().toSorted()).toEqual(['p', 'r'])
    scene.now = 700_000
    expect(scene.want('q', 'part')).toEqual(['q none'])
    expect(named()).toEqual(['r'])
    scene.want('q', 'gone')
    // Also of a blob of which nobody speaks any more.
    scene.now = 1_200_000
    scene.queue.step(
      {
        kind: 'wants',
        from: 's',
        wants: [{ blob: 'another', brought: 0, wish: 'done', sought: 0 }],
        recorded: new Map(),
      },
      scene.now,
    )
    scene.now = 1_400_000
    scene.queue.step({ kind: 'wake' }, scene.now)
    expect(named()).toEqual([])
    expect(scene.want('t', 'part')).toEqual(['t head'])
  })

  it('has the first hungry one race against a head that brings nothing', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q', 'r']) scene.want(peer, 'part')
    scene.now = headLateMs - 1
    expect(scene.want('r', 'hungry')).toEqual(['r none'])
    expect(scene.queue.wakeAt).toBe(headLateMs)
    expect(scene.at(headLateMs)).toEqual(['r racer'])
  })

  it('makes whoever brings a chunk first the head', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q']) scene.want(peer, 'part')
    scene.now = headLateMs
    scene.want('q', 'hungry')
    scene.now += 100
    expect(scene.want('q', 'part', 1)).toEqual(['p none', 'q head'])
  })

  it('waits for longer after a race in vain, until chunks come fast', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q']) scene.want(peer, 'part')
    scene.now = headLateMs
    scene.want('q', 'hungry')
    scene.now = 1_500
    expect(scene.want('p', 'part', 1)).toEqual(['q none'])
    expect(scene.queue.wakeAt).toBe(1_500 + 2 * 1_500)
    scene.now = 1_600
    scene.want('p', 'part', 2)
    expect(scene.queue.wakeAt).toBe(1_600 + headLateMs)
  })

  it('ends a race that brings nothing, and has the next hungry one try later', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q', 'r']) scene.want(peer, 'part')
    scene.now = headLateMs
    expect(scene.want('q', 'hungry')).toContain('q racer')
    scene.want('r', 'hungry')
    expect(scene.at(2 * headLateMs)).toEqual(['q none', 'r racer'])
  })

  it('does not race because of parts of a chunk: a slow head brings those, too', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q']) scene.want(peer, 'part')
    scene.now = 900
    scene.want('p', 'part', 0.5)
    scene.now = headLateMs
    expect(scene.want('q', 'hungry')).toContain('q racer')
  })

  it('grants nothing where somebody has the whole, but to the hungry', () => {
    const scene = new Scene()
    scene.want('p', 'done')
    expect(scene.want('q', 'part')).toEqual(['q none'])
    expect(scene.want('q', 'hungry')).toContain('q head')
  })

  it('forgets whoever is not heard of for long', () => {
    const scene = new Scene()
    scene.want('p', 'part')
    scene.now = 3 * renewMs
    expect(scene.want('q', 'part')).toEqual(['q head'])
  })

  it('names the head first, and others', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q', 'r']) scene.want(peer, 'part')
    const wants = [{ blob: 'b', brought: 0, wish: 'part', sought: 2 }] as const
    const [telling] = scene.queue.step({ kind: 'wants', from: 'r', wants, recorded: new Map() }, 0)
    expect(telling?.turn.members).toEqual(['p', 'q'])
  })

  it('says who is the head, to the head as well', () => {
    const scene = new Scene()
    const heads = (tellings: readonly Telling[]) => tellings.map(({ to, turn: { head } }) => `${to}: ${head}`)
    expect([...new Set(heads(scene.turns('p', 'part')))]).toEqual(['p: p'])
    expect(heads(scene.turns('q', 'part'))).toEqual(['q: p'])
    scene.now = headLateMs
    expect(heads(scene.turns('q', 'hungry'))).toContain('q: p')
    expect(heads(scene.turns('q', 'part', 1))).toEqual(['p: q', 'q: q'])
  })

  it('has nobody read what a recorded peer has, but the hungry', () => {
    const scene = new Scene()
    expect(scene.want('p', 'part', 0, ['x'])).toEqual(['p none'])
    // What was said last holds.
    expect(scene.want('q', 'part')).toEqual(['q none'])
    expect(scene.left('p')).toEqual([])
    expect(scene.want('q', 'hungry')).toContain('q head')
  })

  it.each([
    ['the asker', ['p']],
    ['somebody who fetches it', ['p', 'q']],
    ['nobody', []],
  ])('has it read where %s is recorded', (_what, recorded) => {
    const scene = new Scene()
    scene.want('q', 'unable')
    expect(scene.want('p', 'part', 0, recorded)).toContain('p head')
  })

  it('names recorded peers and such as have it, once each, and never the asker', () => {
    const scene = new Scene()
    scene.want('d', 'done')
    const [telling] = scene.turns('p', 'part', 0, ['x', 'x', 'p', 'd'])
    expect(telling?.turn.members.toSorted()).toEqual(['d', 'x'])
  })

  it('names others that fetch it as well, however many are recorded', () => {
    const scene = new Scene()
    const [many, peers] = ['x', 'p'].map((letter) => Array.from({ length: 99 }, (_, index) => `${letter}${index}`))
    for (const peer of peers ?? []) scene.want(peer, 'part')
    const [telling] = scene.turns('q', 'part', 0, many)
    const { members = [] } = telling?.turn ?? {}
    expect(members).toHaveLength(NUMBERS.named)
    expect(members[0]).toBe('p0')
    expect(members.filter((peer) => peer.startsWith('p')).length).toBeGreaterThan(8)
    expect(members.filter((peer) => peer.startsWith('x')).length).toBeGreaterThan(8)
  })

  it('names no more than is in its numbers, whatever is sought', () => {
    const scene = new Scene()
    for (let index = 0; index < 99; index++) scene.want(`p${index}`, 'part')
    const [telling] = scene.turns('p50', 'part', 0, [], 2 ** 32 - 1)
    expect(telling?.turn.members).toHaveLength(NUMBERS.named)
  })

  it('tells those who will want it soon who takes part, and gives them no turn nor names them', () => {
    const scene = new Scene()
    const [first] = scene.turns('s', 'soon', 0, ['x'], 16)
    expect(first?.turn).toEqual({ blob: 'b', role: 'none', head: undefined, brought: 0, members: ['x'] })
    scene.want('p', 'part', 0, [])
    const [second] = scene.turns('s', 'soon', 0, [], 16)
    expect(second?.turn).toMatchObject({ role: 'none', head: 'p', members: ['p'] })
    const [third] = scene.turns('q', 'part', 0, [])
    expect(third?.turn.members).toEqual(['p'])
    expect(scene.left('p')).toEqual(['q head'])
  })

  it('grants the turn of one that takes no part any more to the next one at once', () => {
    const scene = new Scene()
    for (const peer of ['p', 'q', 'r']) scene.want(peer, 'part')
    expect(scene.want('p', 'gone')).toEqual(['q head'])
    scene.now = headLateMs
    expect(scene.want('r', 'hungry')).toContain('r racer')
    expect(scene.want('q', 'gone')).toEqual(['r head'])
    const [telling] = scene.turns('s', 'part')
    expect(telling?.turn.members).toEqual(['r'])
  })

  it('keeps those who have it, although they say so once', () => {
    const scene = new Scene()
    scene.want('d', 'done')
    scene.now = 10 * renewMs
    expect(scene.want('p', 'part')).toEqual(['p none'])
    expect(scene.left('d')).toEqual(['p head'])
  })

  it('tells those who fetch it to somebody who has it', () => {
    const scene = new Scene()
    scene.want('p', 'part')
    expect(scene.turns('d', 'done')[0]?.turn).toMatchObject({ role: 'none', members: ['p'] })
    expect(scene.turns('d', 'done')).toEqual([])
  })

  it('forgets no blob that is fetched for thousands that somebody has', () => {
    const scene = new Scene()
    scene.want('p', 'part')
    const wants = Array.from({ length: 10_000 }, (_, index) => {
      return { blob: `x${index}`, brought: 0, wish: 'done', sought: 0 } as const
    })
    scene.queue.step({ kind: 'wants', from: 'd', wants, recorded: new Map() }, 0)
    expect(scene.want('q', 'part')).toEqual(['q none'])
  })

  it('costs the same for a message, however many claims there are', () => {
    const scene = new Scene()
    const blobs = Array.from({ length: 2_000 }, (_, index) => `b${index}`)
    const took = cpuTime(() => {
      for (let peer = 0; peer < 20; peer++)
        for (const blob of blobs) {
          const wants = [{ blob, brought: 0, wish: 'hungry', sought: 0 }] as const
          scene.queue.step({ kind: 'wants', from: `p${peer}`, wants, recorded: new Map() }, 0)
          expect(scene.queue.wakeAt).toBeGreaterThan(0)
        }
    })
    // With a look at all claims for each message these would be 80 million.
    expect(took).toBeLessThan(3_000)
  })
})
