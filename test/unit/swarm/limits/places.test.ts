import { describe, expect, it } from 'vitest'
import { Places } from '../../../../daemon/swarm/limits/places.ts'

/** Takes places for owners such as `network/address/peer`, and says whose were lost. */
function scene(limit: number, patienceMs?: number) {
  let now = 0
  const places = new Places({ limit, patienceMs, gives: 'first', now: () => now })
  const lost: string[] = []
  const take = (name: string) => places.take(name.split('/'), () => lost.push(name))
  const pass = (ms: number) => {
    now += ms
  }
  return { places, lost, take, pass }
}

describe('places', () => {
  it('are for anybody while some are free', () => {
    const { places, lost, take } = scene(300)
    for (let i = 0; i < 300; i++) expect(take(`a/a/${i}`)).toBeDefined()
    expect([places.size, lost]).toEqual([300, []])
    expect(take('a/a/another')).toBeUndefined()
  })

  it('go from whoever has most to whoever has less, until they have the same', () => {
    const { places, lost, take } = scene(300)
    for (let i = 0; i < 300; i++) take(`a/a/${i}`)
    const given = Array.from({ length: 300 }, (_, i) => take(`b/b/${i}`) !== undefined)
    expect(given.filter(Boolean)).toHaveLength(150)
    expect([places.countOf('a', 0), places.countOf('b', 0)]).toEqual([150, 150])
    expect(lost).toEqual(Array.from({ length: 150 }, (_, i) => `a/a/${i}`))
    expect(take('c/c/0')).toBeDefined()
  })

  it('are shared by addresses of one network, and by peers of one address, in the same way', () => {
    const { lost, take } = scene(4)
    for (const name of ['n/a/p', 'n/a/p', 'n/a/q', 'n/b/r']) take(name)
    expect(take('n/c/s')).toBeDefined()
    expect(lost).toEqual(['n/a/p'])
    const peers = scene(4)
    for (const name of ['n/a/q', 'n/a/p', 'n/a/p', 'n/a/p']) peers.take(name)
    expect(peers.take('n/a/s')).toBeDefined()
    expect(peers.take('n/a/t')).toBeDefined()
    expect(peers.take('n/a/u')).toBeUndefined()
    expect(peers.lost).toEqual(['n/a/p', 'n/a/p'])
  })

  it('can not be kept by whoever does not move, and can by whoever does or has to wait', () => {
    const { lost, take, pass } = scene(3, 1000)
    const moving = take('a')
    take('b')
    take('c')?.rests()
    pass(900)
    moving?.moved()
    pass(101)
    expect(take('b')).toBeDefined()
    expect(lost).toEqual(['b'])
    expect(take('b')).toBeUndefined()
  })

  it('are given back once', () => {
    const { places, take } = scene(2)
    const first = take('a')
    take('a')
    first?.leave()
    first?.leave()
    expect(places.size).toBe(1)
  })
})
