import { getEventListeners } from 'node:events'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Claiming } from '../../../../daemon/fetch/download/claiming.ts'
import type { ClaimAnswer, ClaimWish } from '../../../../daemon/swarm/claim/book.ts'
import { RENEW_MS, STARVED_MS } from '../../../../daemon/swarm/claim/constants.ts'

/** What a starved node asks, and is answered. */
function starved(ask: (wish: ClaimWish) => ClaimAnswer['role'] | undefined, hasPeers = true): Claiming {
  return new Claiming({
    ask: async (wish) => {
      const role = ask(wish)
      return role === undefined ? undefined : { role, holder: undefined, members: [] }
    },
    held: () => 0,
    needsUpstream: () => true,
    isStarved: () => true,
    hasPeers: () => hasPeers,
    onAnswer: () => {},
    onRole: () => {},
  })
}

it.each([
  [true, 'starved'],
  [false, 'claim'],
] as const)('a starved node (that has peers: %s) asks for the claim: %s', async (hasPeers, second) => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const wishes: string[] = []
  const claiming = starved((wish) => {
    wishes.push(wish)
    return 'none'
  }, hasPeers)
  const abort = new AbortController()
  const running = claiming.run(abort.signal)
  await vi.advanceTimersByTimeAsync(STARVED_MS + 1)
  expect(wishes).toEqual(['if-nobody', second])
  abort.abort()
  await running
})

it('asking again and again leaves nothing behind, and a poke asks at once', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  let asked = 0
  const claiming = starved(() => {
    asked++
    return 'holder'
  })
  const abort = new AbortController()
  const running = claiming.run(abort.signal)
  await vi.advanceTimersByTimeAsync(20 * RENEW_MS + 1)
  expect(asked).toBe(21)
  expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1)
  claiming.poke()
  await vi.advanceTimersByTimeAsync(1)
  expect(asked).toBe(22)
  abort.abort()
  await running
})

it('fetches one chunk where no coordinator answers in time, and has the role that was said last where none does later', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const said = [undefined, 'none', undefined, 'holder', undefined] as const
  let asked = 0
  const claiming = starved(() => said[asked++])
  const abort = new AbortController()
  const running = claiming.run(abort.signal)
  const roles: string[] = []
  await vi.advanceTimersByTimeAsync(1)
  for (const _ of said) {
    roles.push(claiming.role)
    await vi.advanceTimersByTimeAsync(RENEW_MS)
  }
  expect(roles).toEqual(['racer', 'none', 'none', 'holder', 'holder'])
  abort.abort()
  await running
})
