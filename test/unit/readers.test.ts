import type { IncomingMessage } from 'node:http'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Place, Readers } from '../../proxy/readers.ts'

const never = new AbortController().signal
const from = (remoteAddress: string | undefined) => ({ socket: { remoteAddress } }) as IncomingMessage

beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }))
afterEach(() => void vi.useRealTimers())

/** Whether a client gets a place at once. */
async function getsIn(readers: Readers, address: string): Promise<boolean> {
  const giveUp = new AbortController()
  const entering = readers.enter(from(address), giveUp.signal).then(
    () => true,
    () => false,
  )
  // A place that is free is taken within this turn of the event loop.
  await new Promise((resolve) => setImmediate(resolve))
  giveUp.abort(new Error('it waits'))
  return await entering
}

async function fill(readers: Readers, address: string, count: number): Promise<Place[]> {
  return await Promise.all(Array.from({ length: count }, () => readers.enter(from(address), never)))
}

/** Asks for places, without waiting for them. @returns those that were given until now */
function ask(readers: Readers, address: string, count: number): Place[] {
  const given: Place[] = []
  for (let asked = 0; asked < count; asked++)
    void readers.enter(from(address), never).then((place) => given.push(place))
  return given
}

/** Lets time pass. @param moving bodies of which a chunk is taken all so many ms */
async function pass(ms: number, moving: readonly (readonly Place[])[], every = 1_000): Promise<void> {
  for (let time = 1_000; time <= ms; time += 1_000) {
    if (time % every === 0) for (const place of moving.flat()) place.moved()
    await vi.advanceTimersByTimeAsync(1_000)
  }
}

/** A body ends when it is told to. */
function endWhenTold(places: readonly Place[]): void {
  for (const place of places) place.signal.addEventListener('abort', () => place.leave())
}

const lost = (places: readonly Place[]) => places.filter(({ signal }) => signal.aborted).length

describe('places of readers', () => {
  it('are shared: a client that has its share waits, and others do not', async () => {
    const readers = new Readers()
    const [place] = await fill(readers, '192.0.2.1', 128)
    expect(await getsIn(readers, '::ffff:192.0.2.1')).toBe(false)
    expect(await getsIn(readers, '192.0.2.2')).toBe(true)
    place?.leave()
    place?.leave()
    expect(await getsIn(readers, '192.0.2.1')).toBe(true)
    // It was given back once, and is taken.
    expect(await getsIn(readers, '192.0.2.1')).toBe(false)
  })

  it('of one IPv6 network are one client’s', async () => {
    const readers = new Readers()
    await fill(readers, '2001:db8:0:7::1', 64)
    await fill(readers, '2001:db8:0:7:a:b:c:d', 64)
    expect(await getsIn(readers, '2001:db8::7:ffff:0:0:1')).toBe(false)
    expect(await getsIn(readers, '2001:db8:0:8::1')).toBe(true)
    expect(await getsIn(readers, '::1')).toBe(true)
  })

  it('are so many in all, and this machine has its own', async () => {
    const readers = new Readers()
    for (const last of [1, 2, 3, 4]) await fill(readers, `192.0.2.${last}`, 128)
    expect(await getsIn(readers, '192.0.2.5')).toBe(false)
    expect(await getsIn(readers, '127.0.0.1')).toBe(true)
    expect(await getsIn(readers, '::1')).toBe(true)
  })

  it('go to the client that has the fewest, whoever has waited longer', async () => {
    const readers = new Readers()
    const [places] = await Promise.all([1, 2, 3, 4].map((last) => fill(readers, `192.0.2.${last}`, 124 + last)))
    await fill(readers, '192.0.2.5', 6)
    const greedy = ask(readers, '192.0.2.1', 3)
    const modest = ask(readers, '192.0.2.6', 1)
    places?.[0]?.leave()
    await pass(1_000, [places ?? []])
    expect([greedy.length, modest.length]).toEqual([0, 1])
  })

  it('come to be equal between clients that are slow and one that comes later', async () => {
    const readers = new Readers()
    const slow = (await Promise.all([1, 2, 3, 4].map((last) => fill(readers, `192.0.2.${last}`, 128)))).flat()
    endWhenTold(slow)
    for (const last of [1, 2, 3, 4]) ask(readers, `192.0.2.${last}`, 100)
    const newcomer = ask(readers, '192.0.2.5', 128)
    // Each takes a chunk just in time.
    await pass(12_000, [slow], 12_000)
    expect(newcomer.length).toBeGreaterThan(0)
    await pass(180_000, [slow, newcomer], 12_000)
    // A fifth of 512.
    expect(newcomer.length).toBeGreaterThanOrEqual(101)
    expect(newcomer.length).toBeLessThanOrEqual(104)
    const before = lost(slow)
    await pass(60_000, [slow, newcomer])
    expect(lost(slow)).toBe(before)
    expect(lost(newcomer)).toBe(0)
  })

  it('are kept by those who take nothing while nobody waits for them', async () => {
    const readers = new Readers()
    const still = await fill(readers, '192.0.2.1', 128)
    const others = await fill(readers, '192.0.2.2', 128)
    // One that has its share waits for nobody else.
    const waiting = ask(readers, '192.0.2.2', 1)
    await pass(60_000, [others])
    expect([lost(still), lost(others), waiting.length]).toEqual([0, 0, 0])
  })

  it('are lost by those who take nothing while their own neighbour waits', async () => {
    const readers = new Readers()
    const places = await fill(readers, '192.0.2.1', 128)
    endWhenTold(places)
    const waiting = ask(readers, '192.0.2.1', 5)
    await pass(17_000, [places.slice(20)])
    expect([lost(places), waiting.length]).toEqual([0, 0])
    // In time for all of them, and no more than are needed.
    await pass(3_000, [places.slice(20)])
    expect([lost(places), waiting.length]).toEqual([5, 5])
    expect(lost(places.slice(20))).toBe(0)
  })
})
