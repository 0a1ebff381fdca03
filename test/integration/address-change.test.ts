import { beforeEach, expect, it } from 'vitest'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { atSwitch, type Daemon, type Machine } from '../fixtures/machines.ts'
import { until } from '../fixtures/node.ts'

beforeEach(async (context) => {
  const reason = await withoutNamespaces()
  if (reason !== undefined) context.skip(reason)
})

/** How soon nodes are to meet again is 10 s; the machine may be busy. Before, it took minutes. */
const MET_AGAIN_MS = 20_000

/** Two nodes, each on a machine of its own; the second one has the first as its seed. */
async function setUp() {
  const {
    machines: [a, b],
    unplug,
    plug,
  } = await atSwitch(['10.91.0.1/24'], ['10.91.0.2/24'])
  if (a === undefined || b === undefined) throw new Error('there are two machines')
  const first = await a.node(['--no-mdns'])
  const second = await b.node(['--no-mdns', '--seed', '10.91.0.1:4050'])
  const peers = async (node: Daemon) => (await node.status()).peers
  /** Whether a node's only connection is one that stands at this address of its peer, and blobs can be fetched from it. */
  const sees = async (node: Daemon, address: string) => {
    const found = await peers(node)
    return found.length === 1 && found.every((peer) => peer.transfer && peer.address.startsWith(`/ip4/${address}/`))
  }
  await until(async () => (await sees(first, '10.91.0.2')) && (await sees(second, '10.91.0.1')), 30_000)
  return { a, b, first, second, peers, sees, cut: () => unplug(b), join: () => plug(b) }
}

/** The machine gets another address in place of the one that it has. */
async function move(machine: Machine, from: string, to: string): Promise<void> {
  await machine.ip(`addr del ${from}/24 dev eth0`, `addr add ${to}/24 dev eth0`)
}

it('meets its peers again when its address has changed', { timeout: 120_000 }, async () => {
  const { b, first, second, sees } = await setUp()
  await move(b, '10.91.0.2', '10.91.0.7')
  await until(async () => (await sees(first, '10.91.0.7')) && (await sees(second, '10.91.0.1')), MET_AGAIN_MS)
})

it('meets a seed again whose address is back after a while', { timeout: 120_000 }, async () => {
  const { a, first, second, sees, peers } = await setUp()
  await move(a, '10.91.0.1', '10.91.0.8')
  // The seed dials from its new address by itself.
  await until(async () => (await sees(second, '10.91.0.8')) && (await peers(first)).length === 1, MET_AGAIN_MS)
  await move(a, '10.91.0.8', '10.91.0.1')
  await until(async () => (await sees(second, '10.91.0.1')) && (await peers(first)).length === 1, MET_AGAIN_MS)
})

it('ends connections with peers that are out of reach, without a word from the system, and meets them again', {
  timeout: 240_000,
}, async () => {
  const { first, second, sees, peers, cut, join } = await setUp()
  await cut()
  await until(async () => (await peers(first)).length === 0 && (await peers(second)).length === 0, 90_000)
  await join()
  await until(async () => (await sees(first, '10.91.0.2')) && (await sees(second, '10.91.0.1')), MET_AGAIN_MS)
  expect(await peers(first)).toHaveLength(1)
})
