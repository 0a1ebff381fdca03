import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { multiaddr } from '@multiformats/multiaddr'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { BURST_MS, FAR_MS, PeerLimits, SUSTAINED_MS } from '../../daemon/swarm/limits/peer-limits.ts'
import type { PeerId } from '../../daemon/swarm/ports.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { libp2pNode } from '../fixtures/libp2p-node.ts'
import { providersOf, type TestNode, TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'
import { flood, floods } from './floods.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())
afterEach(() => vi.restoreAllMocks())

const banOf = (node: TestNode, peer: PeerId) => node.status().banned.find(({ peerId }) => peerId === peer)

describe('a peer that sends without end', () => {
  test.each(floods)('$what takes no more of a node than it may, and others are served', async (kind) => {
    const most = spent()
    const [node, honest] = await swarm.pair()
    const peer = await libp2pNode()
    const connection = await peer.dial(multiaddr(node.address()))
    const started = performance.now()
    const flooding = flood(connection, kind)
    const ban = () => banOf(node, peer.peerId.toString())
    await until(() => ban() !== undefined || most() > BURST_MS + 2 * SUSTAINED_MS, 120_000)
    const seconds = (performance.now() - started) / 1000
    // What was read in one piece, when it had something left, is done.
    expect(most()).toBeLessThan(BURST_MS + FAR_MS + SUSTAINED_MS * seconds + 1_000)
    if (ban() !== undefined) expect(ban()?.reason).toMatch(/^it sends too many /)
    const digest = node.content.add(randomBytes(10))
    node.swarm.advertise(digest, true)
    await until(async () => (await providersOf(honest, digest)).length === 1, 60_000)
    expect(banOf(node, honest.peerId())).toBeUndefined()
    await peer.stop()
    await flooding
  })

  test.each<[string, (attacker: TestNode, node: PeerId) => Promise<unknown>]>([
    ['malformed ones', async (attacker, node) => attacker.swarm.links.send(node, Buffer.alloc(10, 0xff))],
    [
      'requests for blobs',
      (attacker, node) => attacker.swarm.stat(node, digestOf(randomBytes(4)), AbortSignal.timeout(1_000)),
    ],
  ])('%s is banned as well', async (_, send) => {
    const [node, attacker] = await swarm.pair()
    const peer = attacker.peerId()
    while (banOf(node, peer) === undefined) {
      await Promise.all(Array.from({ length: 100 }, () => send(attacker, node.peerId()).catch(() => {})))
      await nextTurn()
    }
    await until(() => transferPeers(node) === 0)
  })
})

test('messages on a link take no more of a node than they may', async () => {
  const most = spent()
  const [node, attacker] = await swarm.pair()
  const started = performance.now()
  const enough = BURST_MS + 2 * SUSTAINED_MS
  while (most() < enough && banOf(node, attacker.peerId()) === undefined) {
    for (let sent = 0; sent < 1_000; sent++) attacker.swarm.links.send(node.peerId(), Buffer.alloc(0))
    await nextTurn()
  }
  const seconds = (performance.now() - started) / 1000
  expect(most()).toBeLessThan(BURST_MS + FAR_MS + SUSTAINED_MS * seconds + 1_000)
})

/** What peers have spent at each node, in ms. */
function spent(): () => number {
  let most = 0
  const sums = new Map<PeerLimits, Map<PeerId, number>>()
  const { spend } = PeerLimits.prototype
  vi.spyOn(PeerLimits.prototype, 'spend').mockImplementation(function (this: PeerLimits, peer, ms, what) {
    const peers = sums.get(this) ?? new Map<PeerId, number>()
    sums.set(this, peers.set(peer, (peers.get(peer) ?? 0) + ms))
    most = Math.max(most, peers.get(peer) ?? 0)
    return spend.call(this, peer, ms, what)
  })
  return () => most
}

describe('a node that works hard spends a part of what it has', () => {
  test('with 10,000 blobs that it announces', async () => {
    const most = spent()
    const [node, other] = await swarm.pair()
    for (let blob = 0; blob < 10_000; blob++)
      node.content.blobs.set(digestOf(Buffer.from(`blob ${blob}`)), Buffer.alloc(1))
    await node.restart()
    const last = digestOf(Buffer.from('blob 0'))
    await until(async () => (await providersOf(other, last)).length === 1, 60_000)
    await until(() => node.status().provideQueue === 0, 60_000)
    expect(most()).toBeLessThan(BURST_MS / 2)
  })

  test('and takes longer where that is not enough, in place of being cut off', async () => {
    const [node, other] = await swarm.pair()
    const { spend, wait } = PeerLimits.prototype
    let held = 0
    // As if there were ten times as many blobs.
    vi.spyOn(PeerLimits.prototype, 'spend').mockImplementation(function (this: PeerLimits, peer, ms, what) {
      const mayGoOn = spend.call(this, peer, 10 * ms, what)
      if (!mayGoOn) held++
      return mayGoOn
    })
    vi.spyOn(PeerLimits.prototype, 'wait').mockImplementation(function (this: PeerLimits, peer, go) {
      held++
      wait.call(this, peer, go)
    })
    for (let blob = 0; blob < 5_000; blob++)
      node.content.blobs.set(digestOf(Buffer.from(`blob ${blob}`)), Buffer.alloc(1))
    await node.restart()
    await until(() => node.status().provideQueue === 0 && node.status().provided >= 5_000, 120_000)
    // What was sent is read as the other one's allowance lets it.
    const isKnown = async (blob: number) =>
      (await providersOf(other, digestOf(Buffer.from(`blob ${blob}`)))).length === 1
    for (const blob of [0, 2_500, 4_999]) await until(() => isKnown(blob), 120_000)
    expect(held).toBeGreaterThan(0)
    expect(other.status().banned).toEqual([])
  })

  test('with 40 layers that it pulls at once', async () => {
    const most = spent()
    const [node, other] = await swarm.pair()
    const blobs = Array.from({ length: 40 }, () => node.content.add(randomBytes(300_000), 'sha512'))
    for (const blob of blobs) node.swarm.advertise(blob, true)
    const ask = async (blob: (typeof blobs)[number]) => {
      await until(async () => (await providersOf(other, blob)).length === 1, 60_000)
      for (;;) {
        const opened = await other.swarm
          .open(node.peerId(), blob, { start: 0 }, AbortSignal.timeout(60_000))
          .catch(() => undefined)
        if (opened === undefined) continue
        for await (const _ of opened.body);
        return
      }
    }
    await Promise.all(blobs.map(ask))
    expect(most()).toBeLessThan(BURST_MS / 2)
    expect(node.status().banned).toEqual([])
  })
})
