import { expect, test } from 'vitest'
import { BURST_MS, FAR_MS, PeerLimits, SUSTAINED_MS } from '../../../../daemon/swarm/limits/peer-limits.ts'

function scene(isOpen = true) {
  let now = 0
  const floods: string[] = []
  const onFlood = (peer: string, reason: string) => floods.push(`${peer}: ${reason}`)
  const limits = new PeerLimits({ onFlood, isOpen, now: () => now })
  const pass = (ms: number) => {
    now += ms
  }
  return { limits, floods, pass }
}

test('a peer that spends what it has is told to wait, and is not banned', () => {
  const { limits, floods, pass } = scene()
  expect(limits.spend('a', BURST_MS, 'questions')).toBe(true)
  expect(limits.spend('a', 1, 'questions')).toBe(false)
  expect(limits.spend('b', 1, 'questions')).toBe(true)
  pass(1000)
  expect(limits.spend('a', SUSTAINED_MS - 1, 'questions')).toBe(true)
  limits.earn('a', 10)
  expect(limits.spend('a', 10, 'questions')).toBe(true)
  expect(floods).toEqual([])
})

test('a peer that goes far beyond it is reported, once each time', () => {
  const { limits, floods, pass } = scene()
  for (let spent = 0; spent <= BURST_MS + 3 * FAR_MS; spent++) limits.spend('a', 1, 'questions')
  expect(floods).toEqual(['a: it sends too many questions'])
  pass(((BURST_MS + 3 * FAR_MS) / SUSTAINED_MS) * 1000)
  expect(limits.spend('a', 1, 'questions')).toBe(true)
  limits.spend('a', BURST_MS + FAR_MS + 1, 'questions')
  expect(floods).toHaveLength(2)
})

test('a peer that has nothing left is not to be read from until it has, and never for long', () => {
  const { limits, pass } = scene()
  limits.spend('a', BURST_MS, 'questions')
  expect(limits.pauseMs('a')).toBe(0)
  limits.spend('a', 1, 'questions')
  const ms = limits.pauseMs('a')
  expect(ms).toBe(1000 / SUSTAINED_MS)
  pass(ms)
  expect(limits.pauseMs('a')).toBe(0)
  limits.spend('a', FAR_MS, 'questions')
  expect(limits.pauseMs('a')).toBeLessThan(1000)
  expect(limits.pauseMs('b')).toBe(0)
})

test('an allowance is not more than a burst, however long nothing was spent and whatever was earned', () => {
  const { limits, pass } = scene()
  pass(3600_000)
  limits.earn('a', 1e9)
  expect(limits.spend('a', BURST_MS + 1, 'questions')).toBe(false)
})

test.each([
  [true, 'take turns'],
  [false, 'wait for nobody'],
])('those who take much (in an open swarm: %s) %s', (isOpen) => {
  const { limits } = scene(isOpen)
  const peers = Array.from({ length: 10 }, (_, number) => `peer ${number}`)
  for (const peer of peers) limits.spend(peer, 400, 'announcements')
  const waiting = peers.filter((peer) => limits.mustWait(peer))
  expect(waiting).toHaveLength(isOpen ? 10 : 0)
  expect(peers.every((peer) => limits.pauseMs(peer) === 0)).toBe(true)
})
