import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { distanceOf, positionOfPeer } from '../../../../daemon/swarm/find/key-space.ts'
import { REST_MS } from '../../../../daemon/swarm/routing/constants.ts'
import { Neighbourhood } from '../../../../daemon/swarm/routing/neighbourhood.ts'
import { seededRandom } from '../../../sim/random.ts'

/* Neighbourhoods of many nodes that are connected with each other, in one process and without a network. */

const count = 40
const max = 16

interface Member {
  readonly id: string
  readonly neighbourhood: Neighbourhood
  readonly peers: Set<string>
}

const members = new Map<string, Member>()
beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(async () => {
  await Promise.all([...members.values()].map(({ neighbourhood }) => neighbourhood.stop()))
  members.clear()
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const byDistance = (ids: Iterable<string>, to: number) =>
  [...ids].sort((a, b) => distanceOf(positionOfPeer(a), to) - distanceOf(positionOfPeer(b), to))

const foundOf = (ids: readonly string[]) => ids.map((peer) => ({ peer, addresses: ['/ip4/192.0.2.1/tcp/1'] }))

/** Where a request ends that goes on to the connected peer that is nearest, as long as that is nearer. */
function endOf(from: string, to: number, without?: string): string {
  const [best = from] = byDistance([...(members.get(from)?.peers ?? []), from], to).filter((id) => id !== without)
  return best === from || from === without ? best : endOf(best, to, without)
}

function known(id: string, to: number, wanted: number, without: string): readonly string[] {
  const all = [id, ...(members.get(id)?.peers ?? [])].filter((peer) => peer !== without)
  return byDistance(all, to).slice(0, wanted)
}

function connect(a: string, b: string): void {
  for (const [one, other] of [
    [a, b],
    [b, a],
  ] as const) {
    members.get(one)?.peers.add(other)
    members.get(one)?.neighbourhood.connected(other)
  }
}

async function start(swarm: number, index: number): Promise<Member> {
  const key = await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(index).fill(swarm, 16))
  const id = peerIdFromPrivateKey(key).toString()
  const neighbourhood = new Neighbourhood({
    self: id,
    max,
    usedAt: () => undefined,
    isSeed: () => false,
    isKnown: () => true,
    addressOf: () => undefined,
    nearest: async (to, wanted, others = []) => {
      const end = endOf(id, to, id)
      return foundOf([end, ...others].flatMap((peer) => known(peer, to, wanted, id)))
    },
    dial: async (peer) => connect(id, peer),
    admits: () => true,
    leave: async (peer) => {
      // The other one is told that there is no room for it.
      members.get(peer)?.neighbourhood.full(id)
      for (const [one, other] of [
        [id, peer],
        [peer, id],
      ] as const) {
        members.get(one)?.peers.delete(other)
        members.get(one)?.neighbourhood.disconnected(other)
      }
    },
    onChange: () => {},
    log: pino({ level: 'silent' }),
  })
  const member = { id, neighbourhood, peers: new Set<string>() }
  members.set(id, member)
  return member
}

/** Time passes; who needs seeds dials them. */
async function live(seconds: number, seeds: readonly Member[]): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    await vi.advanceTimersByTimeAsync(1_000)
    for (const { id, neighbourhood, peers } of members.values())
      for (const seed of seeds)
        if (seed.id !== id && !peers.has(seed.id) && neighbourhood.needsSeeds && peers.size < 4) connect(id, seed.id)
  }
}

test.each([0, 29, 36, 44, 47, 51])(
  'from every node a request ends at the nearest one of all, whoever it is for (swarm %i)',
  async (swarm) => {
    // Which lookups are made is left to chance otherwise.
    vi.spyOn(Math, 'random').mockImplementation(seededRandom(swarm))
    const seeds = [await start(swarm, 0), await start(swarm, 1), await start(swarm, 2)]
    for (let index = 3; index < count; index++) {
      const { id, neighbourhood } = await start(swarm, index)
      for (const { id: other } of seeds) connect(id, other)
      for (const { id: other } of seeds) neighbourhood.heardLarge(other, true)
      await live(1, seeds)
    }
    // Before those that were left at the start may be dialled again.
    await live(REST_MS / 4_000, seeds)
    const ids = [...members.keys()]
    const lost = ids.flatMap((from) => ids.filter((to) => endOf(from, positionOfPeer(to)) !== to))
    expect(lost).toEqual([])
    for (const { neighbourhood } of members.values()) expect(neighbourhood.size).toBeLessThanOrEqual(max)
  },
)
