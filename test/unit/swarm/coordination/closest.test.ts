import { expect, test, vi } from 'vitest'
import { ClosestPeers } from '../../../../daemon/swarm/coordination/closest.ts'
import { CLOSEST_MS } from '../../../../daemon/swarm/coordination/constants.ts'

const key = new Uint8Array(32)

/** Peers near a key, of which the swarm names two, one of them banned. */
function near({ isLarge = true, after = Promise.resolve() } = {}) {
  const query = vi.fn(async (): Promise<readonly string[]> => {
    await after
    return ['a', 'banned']
  })
  return { query, closest: new ClosestPeers({ isLarge: () => isLarge, admits: (peer) => peer !== 'banned', query }) }
}

test('a small swarm is not searched: all that are in it are connected', async () => {
  const { closest, query } = near({ isLarge: false })
  expect(await closest.near(key)).toEqual([])
  expect(query).not.toHaveBeenCalled()
})

test('a large one is searched once for each key, and names nobody who is banned', async () => {
  const { closest, query } = near()
  expect(await closest.near(key)).toEqual(['a'])
  expect(await closest.near(key)).toEqual(['a'])
  expect(query).toHaveBeenCalledTimes(1)
  await closest.near(new Uint8Array(32).fill(1))
  expect(query).toHaveBeenCalledTimes(2)
})

test('a search that takes long is not waited for, and is of use the next time', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const { closest, query } = near({ after: promise })
  // It ends only after that.
  expect(await closest.near(key)).toEqual([])
  resolve()
  expect(await closest.near(key)).toEqual(['a'])
  expect(query).toHaveBeenCalledTimes(1)
})

test('a search that takes long is waited for once, not by each who asks', async () => {
  vi.useFakeTimers()
  const { closest, query } = near({ after: new Promise(() => {}) })
  const first = closest.near(key)
  await vi.advanceTimersByTimeAsync(CLOSEST_MS)
  expect(await first).toEqual([])
  const second = closest.near(key)
  await vi.advanceTimersByTimeAsync(1)
  expect(await second).toEqual([])
  expect(query).toHaveBeenCalledTimes(1)
  vi.useRealTimers()
})

test('a search that finds nobody, or fails, is not remembered', async () => {
  const { closest, query } = near()
  query.mockResolvedValueOnce([])
  expect(await closest.near(key)).toEqual([])
  query.mockRejectedValueOnce(new Error('no peers'))
  expect(await closest.near(key)).toEqual([])
  expect(await closest.near(key)).toEqual(['a'])
})

test('a search is made again once one of those whom it named is gone', async () => {
  const { closest, query } = near()
  await closest.near(key)
  closest.lost('another')
  await closest.near(key)
  expect(query).toHaveBeenCalledTimes(1)
  closest.lost('a')
  await closest.near(key)
  expect(query).toHaveBeenCalledTimes(2)
})
