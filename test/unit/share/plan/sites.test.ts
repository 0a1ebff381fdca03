import { describe, expect, it } from 'vitest'
import type { Role, Turn, Want } from '../../../../daemon/share/plan/messages.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { ClaimQueue, type Telling } from '../../../../daemon/share/plan/queue.ts'
import { all, Scene } from './scene.ts'

const { headLateMs, patienceMs, quarters, soughtNeighbours } = NUMBERS

/** A peer's site is the first letter of its name; one that begins with `x` has told none. */
const siteOf = (peer: string) => (peer.startsWith('x') ? undefined : peer[0])

class Coordinator {
  now = 0
  readonly queue = new ClaimQueue(NUMBERS, () => 0, siteOf)

  /** @returns what is said last to each: its roles upstream and at other sites */
  want(from: string, wish: Want['wish'] = 'part', chunks: { brought?: number; far?: number } = {}): string[] {
    const told = this.tell(from, wish, chunks).map(({ to, turn: { role, far } }) => [to, `${to} ${role} ${far ?? '-'}`])
    return [...new Map(told as [string, string][]).values()]
  }

  tell(from: string, wish: Want['wish'], { brought = 0, far = 0 }, recorded?: readonly string[], sought = 0) {
    const want: Want = { blob: 'b', brought: brought * quarters, wish, sought }
    const wants = [siteOf(from) === undefined ? want : { ...want, far: far * quarters }]
    const known = new Map(recorded === undefined ? [] : [['b', recorded]])
    return this.queue.step({ kind: 'wants', from, wants, recorded: known }, this.now)
  }

  left(peer: string): string[] {
    return this.said(this.queue.step({ kind: 'left', peer }, this.now))
  }

  at(ms: number): string[] {
    this.now = ms
    return this.said(this.queue.step({ kind: 'wake' }, ms))
  }

  said(tellings: readonly Telling[]): string[] {
    return tellings.map(({ to, turn: { role, far } }) => `${to} ${role} ${far ?? '-'}`)
  }
}

describe('the queue of several sites', () => {
  it('has one of each site ask others, and one of all read upstream', () => {
    const scene = new Coordinator()
    expect(['a1', 'b1', 'a2', 'b2', 'x1'].flatMap((peer) => scene.want(peer))).toEqual([
      'a1 head head',
      'b1 none head',
      'a2 none none',
      'b2 none none',
      'x1 none -',
    ])
  })

  it('has the next one of a site ask when the first has left, and no one of another site', () => {
    const scene = new Coordinator()
    for (const peer of ['a1', 'b1', 'b2', 'a2']) scene.want(peer)
    expect(scene.left('b1')).toEqual(['b2 none head'])
    expect(scene.left('a1')).toEqual(['a2 none head', 'b2 head head'])
  })

  it('puts forward one of each site to read upstream; another one where upstream does not give it to that one', () => {
    const scene = new Coordinator()
    for (const peer of ['a1', 'b1', 'b2']) scene.want(peer)
    expect(scene.want('a1', 'unable')).toEqual(['b1 head head', 'a1 none head'])
    expect(scene.want('b1', 'unable')).toEqual(['b2 head none', 'b1 none head'])
  })

  it('has the first hungry one of a site race against a head that brings nothing, and whoever brings a chunk goes on', () => {
    const scene = new Coordinator()
    for (const peer of ['a1', 'b1', 'b2', 'b3']) scene.want(peer)
    scene.now = headLateMs / 2
    scene.want('a1', 'part', { brought: 1 })
    scene.want('b3', 'hungry')
    expect(scene.at(headLateMs)).toEqual(['b3 none racer'])
    expect(scene.want('b3', 'part', { far: 1 })).toEqual(['b1 none none', 'b3 none head'])
  })

  it('lets nobody ask other sites where one of the own has the blob, unless it is hungry', () => {
    const scene = new Coordinator()
    scene.want('b1', 'done')
    expect(scene.want('b2')).toEqual(['b2 none none'])
    expect(scene.want('a1')).toEqual(['a1 none head'])
    expect(scene.want('b2', 'hungry')).toEqual(['b2 head head'])
    const other = new Coordinator()
    expect(other.said(other.tell('b2', 'part', {}, ['b9'])).at(-1)).toBe('b2 none none')
    expect(other.said(other.tell('a1', 'part', {}, ['b9'])).at(-1)).toBe('a1 none head')
  })

  it('names peers of the same site first; half of another one to whoever asks there', () => {
    const scene = new Coordinator()
    const peers = Array.from({ length: 20 }, (_, index) => [`a${index}`, `b${index}`]).flat()
    for (const peer of peers) scene.want(peer)
    const named = (peer: string) => scene.tell(peer, 'part', {}, undefined, soughtNeighbours).at(-1)?.turn.members ?? []
    const near = (peer: string) => named(peer).filter((one) => one[0] === peer[0]).length
    expect([named('b9').length, near('b9')]).toEqual([soughtNeighbours, soughtNeighbours])
    expect([named('b0').length, near('b0')]).toEqual([soughtNeighbours, soughtNeighbours / 2])
  })

  it('forgets a site with its last peer, and knows a bounded number', () => {
    const scene = new Coordinator()
    const many = Array.from({ length: 70 }, (_, index) => String.fromCharCode(0x100 + index))
    const isAsking = (peer: string) => scene.want(peer).some((said) => said === `${peer} none head`)
    scene.want('a1')
    expect(many.filter(isAsking).length).toBe(63)
    for (const peer of many) scene.left(peer)
    expect(many.slice(-5).filter(isAsking).length).toBe(5)
  })
})

describe('a plan that knows its site', () => {
  const far = (role: Role): Turn => ({ blob: 'b', role: 'none', far: role, head: undefined, brought: 0, members: [] })
  const scene = (numbers = {}) => new Scene([], numbers, { b: 64 }, (peer) => peer.startsWith('far'))

  it('asks nobody of another site without the turn', () => {
    const node = scene()
    node.meet('far1', all)
    expect(node.asked).toEqual([])
    node.meet('near', [3])
    expect(node.asked).toEqual(['near'])
  })

  it('asks there with the turn, for what neighbours of its own site have not', () => {
    const node = scene({ startPlaces: 4 })
    node.meet('near', [0, 1])
    node.meet('far1', all)
    node.step({ kind: 'turn', turn: far('head') })
    expect(node.asked).toEqual(['far1'])
    expect(node.sent('ask', 'far1')[0]?.wishes).toMatchObject([{ first: 0, coming: [0, 1] }])
    node.meet('far2', [0, 1])
    expect(node.asked).toEqual([])
  })

  it('leaves an answer from there that one of its own site has meanwhile', () => {
    const node = scene()
    node.meet('far1', all)
    node.step({ kind: 'turn', turn: far('head') })
    const [question] = node.sent('ask')
    node.meet('near', [5])
    node.head('far1', question?.id ?? 0, 5)
    expect(node.said).toEqual(['leave to far1', 'ask to far1'])
  })

  it('gives an answer from there as many times as long as there are places, unless it is silent', () => {
    const node = scene()
    for (const peer of ['far1', 'far2']) node.meet(peer, all)
    node.step({ kind: 'turn', turn: far('head') })
    expect(node.asked).toEqual(['far2'])
    const [question] = node.sent('ask')
    node.head('far2', question?.id ?? 0, 0)
    for (node.bytesAt = 0; node.bytesAt < NUMBERS.places * NUMBERS.lateMs - 1; node.bytesAt++) node.at(node.bytesAt)
    expect(node.asked).toEqual([])
    node.at(NUMBERS.places * NUMBERS.lateMs)
    expect(node.asked).toEqual(['far1'])
    const other = scene()
    other.meet('far1', all)
    other.step({ kind: 'turn', turn: far('head') })
    other.at(NUMBERS.lateMs)
    expect(other.said).toEqual(['leave to far1'])
  })

  it('asks for one chunk at a time there as a racer', () => {
    const node = scene({ startPlaces: 4 })
    for (const peer of ['far1', 'far2', 'far3']) node.meet(peer, all)
    node.step({ kind: 'turn', turn: far('racer') })
    expect(node.asked).toHaveLength(1)
    node.step({ kind: 'turn', turn: far('head') })
    expect(node.asked).toHaveLength(2)
  })

  it('asks there without the turn when nothing new has come for its patience', () => {
    const node = scene({ patienceMs })
    node.meet('far1', all)
    expect(node.at(patienceMs - 1).filter(({ kind }) => kind === 'send')).toEqual([])
    node.at(patienceMs + NUMBERS.lateMs)
    expect(node.asked).toEqual(['far1'])
    expect(node.reads).toEqual([])
  })

  it('tells the coordinator of each chunk that came from there', () => {
    const node = scene()
    expect(node.add({ blob: 'c', chunks: 1, held: [], isWanted: true })).toMatchObject([{ wants: [{ far: 0 }] }])
    node.meet('far1', all)
    node.step({ kind: 'turn', turn: far('head') })
    node.bring('far1', node.sent('ask')[0]?.id ?? 0, 0)
    expect(node.wants).toMatchObject([{ blob: 'b', far: quarters, brought: 0 }])
  })

  it('says nothing of sites where it knows none', () => {
    const node = new Scene()
    expect(Object.keys(node.wants[0] ?? {})).toEqual(['blob', 'brought', 'wish', 'sought'])
  })
})
