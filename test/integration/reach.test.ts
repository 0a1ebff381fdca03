import { beforeEach, describe, expect, it } from 'vitest'
import { cable, type Daemon, Machine, peersOf, withoutNamespaces } from '../fixtures/machines.ts'
import { until } from '../fixtures/node.ts'

/** Meeting takes well under a second; this is for a busy machine. */
const MEET_MS = 30_000

beforeEach(async (context) => {
  const reason = await withoutNamespaces()
  if (reason !== undefined) context.skip(reason)
})

/** Machines with an interface each at one switch, which is a machine, too. */
async function machines(...addresses: readonly (readonly string[])[]): Promise<readonly Machine[]> {
  const lan = await Machine.start()
  await lan.ip('link add br0 type bridge mcast_snooping 0', 'link set br0 up')
  return await Promise.all(
    addresses.map(async (own, index) => {
      const machine = await Machine.start()
      await cable(machine, 'eth0', lan, `port${index}`)
      await lan.ip(`link set port${index} master br0 up`)
      // An IPv6 address is of use at once where nobody is asked whether it is taken.
      await machine.ip(...own.map((address) => `addr add ${address} dev eth0${address.includes(':') ? ' nodad' : ''}`))
      await machine.ip('link set eth0 up')
      return machine
    }),
  )
}

/** Waits until each of the nodes can move blobs from and to all others. */
async function untilMet(...nodes: readonly Daemon[]): Promise<void> {
  for (const node of nodes) await until(async () => (await peersOf(node)) === nodes.length - 1, MEET_MS)
}

describe('public addresses', () => {
  // Not a range for documents: libp2p takes those for private ones. Nothing leaves the namespaces.
  it('are announced: nodes with the same seed meet each other', async () => {
    const [seed, a, b] = (await machines(['51.77.0.1/24'], ['51.77.0.2/24'], ['51.77.0.3/24'])) as [
      Machine,
      Machine,
      Machine,
    ]
    const first = await seed.node('--no-mdns')
    const others = await Promise.all([a, b].map((machine) => machine.node('--no-mdns', '--seed', '51.77.0.1:4050')))
    await untilMet(first, ...others)
    const announced = (await first.status())?.multiaddrs.map((text) => text.replace(/\/p2p\/.*/, ''))
    expect(announced).toContain('/ip4/51.77.0.1/tcp/4050')
  })
  it('that come later are announced as well, and those that go are not', async () => {
    const [seed, a] = (await machines(['51.77.0.1/24'], ['51.77.0.2/24'])) as [Machine, Machine]
    const first = await seed.node('--no-mdns')
    const second = await a.node('--no-mdns', '--seed', '51.77.0.1:4050')
    await untilMet(first, second)
    await a.ip('addr add 51.78.0.2/24 dev eth0')
    const announced = async () => JSON.stringify((await second.status())?.multiaddrs)
    await until(async () => (await announced()).includes('/ip4/51.78.0.2/tcp/4050'), MEET_MS)
    await a.ip('addr del 51.78.0.2/24 dev eth0')
    await until(async () => !(await announced()).includes('/ip4/51.78.0.2/tcp/4050'), MEET_MS)
  })
})
