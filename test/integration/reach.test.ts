import { beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { atSwitch, cable, type Daemon, Machine, peersOf } from '../fixtures/machines.ts'
import { until } from '../fixtures/node.ts'

/** Meeting takes well under a second; this is for a busy machine. */
const MEET_MS = 30_000

beforeEach(async (context) => {
  const reason = await withoutNamespaces()
  if (reason !== undefined) context.skip(reason)
})

/** Machines at one switch. */
async function machines(...addresses: readonly (readonly string[])[]): Promise<readonly Machine[]> {
  return (await atSwitch(...addresses)).machines
}

/** Waits until each of the nodes can move blobs from and to all others. */
async function untilMet(...nodes: readonly Daemon[]): Promise<void> {
  for (const node of nodes) await until(async () => (await peersOf(node)) === nodes.length - 1, MEET_MS)
}

describe('a port map with other numbers', () => {
  it('is announced, and blobs go through it', async () => {
    const [inside, router, outside] = (await Promise.all([1, 2, 3].map(() => Machine.start()))) as [
      Machine,
      Machine,
      Machine,
    ]
    await cable(inside, 'eth0', router, 'lan')
    await cable(outside, 'eth0', router, 'wan')
    await inside.ip('addr add 10.78.0.1/24 dev eth0', 'link set eth0 up', 'route add default via 10.78.0.254')
    await router.ip('addr add 10.78.0.254/24 dev lan', 'link set lan up')
    await router.ip('addr add 51.77.0.254/24 dev wan', 'link set wan up')
    await outside.ip('addr add 51.77.0.1/24 dev eth0', 'link set eth0 up')
    // The outside has no route to the inside; the router passes connections on, as Docker's and a home router's port maps do.
    await router.forward(14050, '10.78.0.1', 4050)
    await router.forward(14051, '10.78.0.1', 4051)
    // And the other way, for what the inner node opens to the outer one, whom it sees at the router's address.
    await router.forward(4051, '51.77.0.1', 4051)
    const blob = pseudoRandomBytes(600_000, 'port map')
    const path = `/v2/docker.io/team/app/blobs/${digestOf(blob)}`
    await inside.serve(80, path.replace('/docker.io', ''), blob)
    const announced = {
      LAYERD_SWARM_ANNOUNCE: '/ip4/51.77.0.254/tcp/14050',
      LAYERD_SWARM_TRANSFER_ANNOUNCE: '51.77.0.254:14051',
    }
    const first = await inside.node(['--no-mdns', '--registry', 'docker.io=http://127.0.0.1:80'], announced)
    const nowhere = ['--registry', 'docker.io=http://127.0.0.1:1']
    const second = await outside.node(['--no-mdns', '--seed', '51.77.0.254:14050', ...nowhere])
    await untilMet(first, second)
    expect((await first.status()).transferAnnounce).toEqual(['51.77.0.254:14051'])
    expect((await second.status()).peers).toMatchObject([{ transferAddress: '51.77.0.254:14051' }])
    for (const machine of [inside, outside]) {
      expect((await machine.get(`http://127.0.0.1:5050${path}`)).digest).toBe(digestOf(blob))
    }
  })
})

describe('an announced place', () => {
  it('that leads to the peer itself, or to its link, is not tried, and any other is', async () => {
    const [a, b] = (await machines(['10.78.0.1/24'], ['10.78.0.2/24', '169.254.7.7/16'])) as [Machine, Machine]
    const [loopback, own, link, wide] = [6001, 6002, 6003, 6004]
    await b.occupy('127.0.0.1', loopback)
    await b.occupy('10.78.0.2', own)
    await b.occupy('169.254.7.7', link)
    await a.occupy('10.78.0.1', wide)
    const hosts = [`localhost:${loopback}`, `10.78.0.2:${own}`, `169.254.7.7:${link}`, `10.78.0.1:${wide}`]
    const nowhere = ['--registry', 'docker.io=http://127.0.0.1:1']
    const second = await b.node(['--no-mdns', ...nowhere])
    const first = await a.node(['--no-mdns', '--seed', '10.78.0.2:4050', ...nowhere], {
      LAYERD_SWARM_TRANSFER_ANNOUNCE: hosts.join(','),
    })
    await untilMet(first, second)
    await until(async () => (await a.came(wide)) > 0, MEET_MS)
    for (const port of [loopback, own, link]) expect([port, await b.came(port)]).toEqual([port, 0])
  })
})

describe('public addresses', () => {
  // Not a range for documents: libp2p takes those for private ones. Nothing leaves the namespaces.
  it('are announced: nodes with the same seed meet each other', async () => {
    const [seed, a, b] = (await machines(['51.77.0.1/24'], ['51.77.0.2/24'], ['51.77.0.3/24'])) as [
      Machine,
      Machine,
      Machine,
    ]
    const first = await seed.node(['--no-mdns'])
    const others = await Promise.all([a, b].map((machine) => machine.node(['--no-mdns', '--seed', '51.77.0.1:4050'])))
    await untilMet(first, ...others)
    const announced = (await first.status()).multiaddrs.map((text) => text.replace(/\/p2p\/.*/, ''))
    expect(announced).toContain('/ip4/51.77.0.1/tcp/4050')
  })
  it('that come later are announced as well, and those that go are not', async () => {
    const [seed, a] = (await machines(['51.77.0.1/24'], ['51.77.0.2/24'])) as [Machine, Machine]
    const first = await seed.node(['--no-mdns'])
    const second = await a.node(['--no-mdns', '--seed', '51.77.0.1:4050'])
    await untilMet(first, second)
    await a.ip('addr add 51.78.0.2/24 dev eth0')
    const announced = async () => JSON.stringify((await second.status()).multiaddrs)
    await until(async () => (await announced()).includes('/ip4/51.78.0.2/tcp/4050'), MEET_MS)
    await a.ip('addr del 51.78.0.2/24 dev eth0')
    await until(async () => !(await announced()).includes('/ip4/51.78.0.2/tcp/4050'), MEET_MS)
  })
})

describe('multicast DNS', () => {
  it('finds peers without a default route and without a route for multicast', async () => {
    const [a, b] = (await machines(['10.78.0.1/24'], ['10.78.0.2/24'])) as [Machine, Machine]
    await untilMet(...(await Promise.all([a, b].map((machine) => machine.node()))))
  })

  it('finds peers at public addresses', async () => {
    const [a, b] = (await machines(['51.77.0.1/24'], ['51.77.0.2/24'])) as [Machine, Machine]
    await untilMet(...(await Promise.all([a, b].map((machine) => machine.node()))))
  })

  it('finds peers on every interface, whatever the default route says', async () => {
    const [a, b, c] = (await Promise.all([1, 2, 3].map(() => Machine.start()))) as [Machine, Machine, Machine]
    // b stands in the middle; the default routes of all lead away from where the peers are
    await cable(a, 'eth0', b, 'eth1')
    await cable(c, 'eth0', b, 'eth2')
    await a.ip('addr add 10.78.1.1/24 dev eth0', 'link set eth0 up')
    await c.ip('addr add 10.78.2.1/24 dev eth0', 'link set eth0 up')
    await b.ip('addr add 10.78.1.2/24 dev eth1', 'link set eth1 up')
    await b.ip('addr add 10.78.2.2/24 dev eth2', 'link set eth2 up')
    for (const machine of [a, b, c]) {
      await machine.ip('link add uplink type veth peer name wall', 'link set wall up', 'link set uplink up')
      await machine.ip('addr add 10.79.0.1/24 dev uplink', 'route add default via 10.79.0.2')
    }
    const nodes = await Promise.all([a, b, c].map((machine) => machine.node()))
    await until(async () => (await peersOf(nodes[1] as Daemon)) === 2, MEET_MS)
  })

  it('finds peers on an interface that comes later', async () => {
    const [a, b] = (await Promise.all([1, 2].map(() => Machine.start()))) as [Machine, Machine]
    const nodes = await Promise.all([a, b].map((machine) => machine.node()))
    await cable(a, 'eth0', b, 'eth0')
    for (const [index, machine] of [a, b].entries()) {
      await machine.ip(`addr add 10.78.0.${index + 1}/24 dev eth0`, 'link set eth0 up')
    }
    await untilMet(...nodes)
  })

  it('says once that its port is taken, and that it can be spoken when it is free', async () => {
    const [a, b] = (await machines(['10.78.0.1/24'], ['10.78.0.2/24'])) as [Machine, Machine]
    const release = await a.occupyUdp(5353)
    const [first, second] = (await Promise.all([a, b].map((machine) => machine.node()))) as [Daemon, Daemon]
    const lines = (start: string) => first.log.filter(({ msg }) => String(msg).startsWith(start))
    await until(() => lines('multicast DNS can not be spoken').length > 0, MEET_MS)
    await release()
    await untilMet(first, second)
    await until(() => lines('multicast DNS can be spoken now').length > 0, MEET_MS)
    expect(lines('multicast DNS can not be spoken')).toMatchObject([{ family: 'IPv4' }])
  })

  it('says once where it can not be sent', async () => {
    const [a, b] = (await machines(['10.78.0.1/24'], ['10.78.0.2/24'])) as [Machine, Machine]
    // By IPv6 nothing can be multicast on an interface whose route for it is missing.
    await a.ip('link add broken type veth peer name wall', 'link set wall up', 'link set broken up')
    await a.run('ip', '-6', 'route', 'del', 'ff00::/8', 'dev', 'broken', 'table', 'local')
    const debug = { LAYERD_LOG_LEVEL: 'debug' }
    const [first, second] = (await Promise.all([a, b].map((machine) => machine.node([], debug)))) as [Daemon, Daemon]
    await untilMet(first, second)
    const lines = (start: string) => first.log.filter(({ msg }) => String(msg).startsWith(start))
    const warnings = () => lines('multicast DNS can not')
    await until(() => warnings().length > 0, MEET_MS)
    expect(warnings()).toMatchObject([{ interface: 'broken', family: 'IPv6' }])
    const failed = lines('multicast DNS: can not send').length
    await until(() => lines('multicast DNS: can not send').length > failed, MEET_MS)
    expect(warnings()).toHaveLength(1)
  })
})

describe('both families', () => {
  it('are the default: nodes meet and share in a network of IPv6 alone', async () => {
    const [a, b] = (await machines(['fd00:78::1/64'], ['fd00:78::2/64'])) as [Machine, Machine]
    const blob = pseudoRandomBytes(600_000, 'IPv6')
    await a.serve(80, `/v2/team/app/blobs/${digestOf(blob)}`, blob)
    const first = await a.node(['--no-mdns', '--registry', 'docker.io=http://127.0.0.1:80'])
    const nowhere = ['--registry', 'docker.io=http://127.0.0.1:1']
    const second = await b.node(['--no-mdns', '--seed', '[fd00:78::1]:4050', ...nowhere])
    await untilMet(first, second)
    for (const machine of [a, b]) {
      const { digest } = await machine.get(`http://127.0.0.1:5050/v2/docker.io/team/app/blobs/${digestOf(blob)}`)
      expect(digest).toBe(digestOf(blob))
    }
  })

  it('are found by multicast DNS', async () => {
    const [a, b] = (await machines(['fd00:78::1/64'], ['fd00:78::2/64'])) as [Machine, Machine]
    await untilMet(...(await Promise.all([a, b].map((machine) => machine.node()))))
  })

  it('are what [::] means, and 0.0.0.0 is what it was', async () => {
    const own = ['10.78.0.1/24', 'fd00:78::1/64']
    const [a, b] = (await machines(own, ['10.78.0.2/24', 'fd00:78::2/64'])) as [Machine, Machine]
    const flags = ['--p2p-listen', '[::]:4050', '--transfer-listen', '[::]:4051']
    const first = await a.node(['--no-mdns', ...flags])
    const old = ['--p2p-listen', '0.0.0.0:4050', '--transfer-listen', '0.0.0.0:4051']
    const second = await b.node(['--no-mdns', '--seed', '10.78.0.1:4050', ...old])
    await untilMet(first, second)
    expect((await first.status()).multiaddrs.map((text) => text.replace(/\/p2p\/.*/, ''))).toEqual(
      expect.arrayContaining(['/ip4/10.78.0.1/tcp/4050', '/ip6/fd00:78::1/tcp/4050']),
    )
    expect(JSON.stringify((await second.status()).multiaddrs)).not.toContain('/ip6/')
    expect([await b.connects('10.78.0.1', 4051), await b.connects('fd00:78::1', 4051)]).toEqual([true, true])
    expect(await a.connects('fd00:78::2', 4051)).toBe(false)
  })

  it('may be told apart by lists', async () => {
    const own = ['10.78.0.1/24', '10.78.0.11/24', '10.78.0.12/24', 'fd00:78::1/64']
    const [a, b] = (await machines(own, ['10.78.0.2/24', 'fd00:78::2/64'])) as [Machine, Machine]
    await a.node(['--no-mdns'], {
      LAYERD_SWARM_LISTEN: '10.78.0.11:4050,[fd00:78::1]:4060',
      LAYERD_SWARM_TRANSFER_LISTEN: '10.78.0.11:4051,[fd00:78::1]:4051',
    })
    const open = async (host: string, port: number) => await b.connects(host, port)
    expect([await open('10.78.0.11', 4050), await open('10.78.0.11', 4051)]).toEqual([true, true])
    expect([await open('fd00:78::1', 4060), await open('fd00:78::1', 4051)]).toEqual([true, true])
    expect([await open('10.78.0.12', 4050), await open('10.78.0.12', 4051)]).toEqual([false, false])
  })

  it('that are in use on one side alone are an error that names the option', async () => {
    const [a] = (await machines(['10.78.0.1/24'])) as [Machine]
    await a.occupy('::', 4050)
    await expect(a.node(['--no-mdns'])).rejects.toThrow(/swarm\.listen: can't listen on \[::\]:4050/)
  })
})
