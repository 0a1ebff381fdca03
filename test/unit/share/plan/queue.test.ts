import { describe, expect, it } from 'vitest'
import type { Want } from '../../../../daemon/share/plan/messages.ts'
import { NUMBERS } from '../../../../daemon/share/plan/numbers.ts'
import { ClaimQueue } from '../../../../daemon/share/plan/queue.ts'

const { headLateMs, renewMs, quarters } = NUMBERS

class Scene {
  now = 0
  readonly queue = new ClaimQueue(NUMBERS, () => 0)

  /** @returns who is told which role */
  want(from: string, wish: Want['wish'], chunks = 0): string[] {
    const wants = [{ blob: 'b', brought: chunks * quarters, wish, sought: 0 }]
    return this.#told(this.queue.step({ kind: 'wants', from, wants, recorded: new Map() }, this.now))
  }

  left(peer: string): string[] {
    return this.#told(this.queue.step({ kind: 'left', peer }, this.now))
  }

  at(ms: number): string[] {
    this.now = ms
    return this.#told(this.queue.step({ kind: 'wake' }, ms))
  }

  #told(tellings: ReturnType<ClaimQueue['step']>): string[] {
    return [...new Set(tellings.map(({ to, turn: { role } }) => `${to} ${role}`))]
  }
}

describe('the claim queue', () => {
  it('has the first one read, and the others wait', () => {
    const scene = new Scene()
    expect(scene.want('p', 'part')).toEqual(['p head'])
    expect(scene.want('q', 'part')).toEqual(['q none'])
  })

  it.each([
    ['left', (scene: Scene) => scene.left('p')],
    ['can not read', (scene: Scene) => scene.want('p', 'unable')],
  ])('has the next one read at once when the head has %s', (_what, event) => {
    const scene = new Scene()
    for (const peer of ['p', 'q', 'r']) scene.want(peer, 'part')
    expect(event(scene)).toContain('q head')
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
})
