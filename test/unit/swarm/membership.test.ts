import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Bans } from '../../../daemon/swarm/bans.ts'
import { createAdmission } from '../../../daemon/swarm/gater.ts'
import { KnownPeers } from '../../../daemon/swarm/known-peers.ts'

const [self, friend, stranger] = (await Promise.all(
  Array.from({ length: 3 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)) as [string, string, string]

describe('bans', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())

  test('last ten minutes', () => {
    const bans = new Bans()
    bans.add(friend, 'wrong bytes')
    expect(bans.list()).toEqual([{ peerId: friend, until: Date.now() + 600_000, reason: 'wrong bytes' }])
    vi.advanceTimersByTime(600_001)
    expect([bans.has(friend), bans.list()]).toEqual([false, []])
  })

  test('are bounded; the oldest ends first', () => {
    const bans = new Bans()
    for (let i = 0; i <= 1024; i++) bans.add(`peer ${i}`, '')
    expect([bans.list().length, bans.has('peer 0'), bans.has('peer 1')]).toEqual([1024, false, true])
  })
})

describe('admission', () => {
  test('is for everybody but the node itself, or for those on the list; bans go before both', () => {
    const bans = new Bans()
    const open = createAdmission(self, [], bans)
    const closed = createAdmission(self, [friend, self], bans)
    expect([self, friend, stranger].map((peer) => open.allows(peer))).toEqual([false, true, true])
    expect([self, friend, stranger].map((peer) => closed.allows(peer))).toEqual([false, true, false])
    bans.add(friend, '')
    expect([open.allows(friend), closed.allows(friend)]).toEqual([false, false])
  })

  test('names an entry that is not a PeerId', () => {
    expect(() => createAdmission(self, ['somebody'], new Bans())).toThrow('swarm.allowedPeers: "somebody"')
  })
})

describe('known peers', () => {
  const peer = (peerId: string, fingerprint: string) => ({ peerId, fingerprint, host: '127.0.0.1', port: 1 })
  const everybody = () => true

  test('are admitted at once, and used when they have our hello', async () => {
    const ready: string[] = []
    const known = new KnownPeers(everybody, (peerId) => ready.push(peerId))
    const a = peer('a', 'ff')
    known.add(a)
    expect([known.byFingerprint('ff', '127.0.0.1'), known.get('a'), known.list()]).toEqual(['a', undefined, []])
    const waiting = known.waitFor('a', AbortSignal.timeout(1000))
    known.ready(a)
    expect([await waiting, known.get('a'), ready]).toEqual([a, a, ['a']])
    expect(known.delete('a')).toBe(a)
    expect([known.byFingerprint('ff', '127.0.0.1'), known.get('a')]).toEqual([undefined, undefined])
  })

  test('that start anew replace what was known; an old hello changes nothing', () => {
    const known = new KnownPeers(everybody, () => {})
    const [before, after] = [peer('a', '01'), peer('a', '02')]
    known.add(before)
    known.add(after)
    known.ready(before)
    expect([known.byFingerprint('01', '127.0.0.1'), known.byFingerprint('02', '127.0.0.1'), known.get('a')]).toEqual([
      undefined,
      'a',
      undefined,
    ])
  })

  test('may be reached elsewhere than where they come from, as long as they are there', () => {
    const known = new KnownPeers(everybody, () => {})
    const [a, place] = [peer('a', 'ff'), { host: '10.0.0.1', port: 2 }]
    known.add(a)
    const moved = known.move(a, place)
    expect(moved).toEqual({ ...a, ...place, source: { host: a.host, port: a.port } })
    expect(known.move(a, place)).toBeUndefined()
    if (moved !== undefined) known.ready(moved)
    expect(known.get('a')).toBe(moved)
    known.delete('a')
    expect(moved && known.move(moved, place)).toBeUndefined()
  })

  test('that copy a fingerprint don’t shut its owner out', () => {
    const known = new KnownPeers(
      (peerId) => peerId !== 'liar',
      () => {},
    )
    known.add(peer('owner', 'ff'))
    known.add(peer('liar', 'ff'))
    known.delete('liar')
    expect(known.byFingerprint('ff', '127.0.0.1')).toBeDefined()
    known.delete('owner')
    known.add(peer('liar', 'ff'))
    expect(known.byFingerprint('ff', '127.0.0.1')).toBeUndefined()
  })

  test('that copy a fingerprint are not taken for its owner, who comes from another address', () => {
    const known = new KnownPeers(everybody, () => {})
    known.add({ ...peer('liar', 'ff'), host: '10.0.0.1' })
    known.add({ ...peer('owner', 'ff'), host: '10.0.0.2' })
    expect(known.byFingerprint('ff', '::ffff:10.0.0.2')).toBe('owner')
    expect(known.byFingerprint('ff', '10.0.0.1')).toBe('liar')
    expect(known.byFingerprint('ff', '10.0.0.3')).toBeDefined()
  })

  test('are waited for no longer than the signal allows', async () => {
    const known = new KnownPeers(everybody, () => {})
    await expect(known.waitFor('a', AbortSignal.timeout(5))).rejects.toThrow(/timeout/)
  })
})
