import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Tools } from '../../e2e/debian.ts'
import { run } from '../../e2e/exec.ts'
import type { FleetCase } from './case.ts'
import { isSlow, siteOf } from './case.ts'

/** Namespace of the bridge. */
const SWITCH = 'switch'
/** A slow link's queue would hold only a few of those, and there are few packets to save. */
const SLOW = { rate: 50, mtu: 1500 } as const

/** Hosts of this network are at no site: what they send and get does not go through the line between two. */
const BEYOND = '10.77.1.0/24'
/** The class of all else, whose bytes are counted. */
const THIN = '1:10'

/** A machine on the network. */
export interface Host {
  /** Of its namespace, and of its port at the switch. */
  readonly name: string
  readonly address: string
}

interface Link extends Host {
  /** Mbit/s in each direction; a link without is as fast as the machine. */
  readonly rate?: number
  readonly site?: 0 | 1
}

/**
 * A switch with shaped links, each host in a network namespace of its own. It has to be made inside a jail: it is gone with
 * it, and nothing in it can reach anything outside.
 */
export class Lan implements AsyncDisposable {
  readonly nodes: readonly Host[]
  /** As fast as upstream's link, or a node's: for the registry, and for a cache. */
  readonly upstream: Host
  readonly cache: Host
  /** With no limit: for measuring the others. */
  readonly probe: Host
  readonly #tools: Tools
  readonly #links: readonly Link[]
  readonly #case: FleetCase

  private constructor(tools: Tools, fleetCase: FleetCase) {
    const { nodes, rate, upstreamRate, slow } = fleetCase
    const links = Array.from({ length: nodes }, (_, index) => ({
      name: `node${index + 1}`,
      address: `10.77.0.${index + 1}`,
      rate: slow && isSlow(fleetCase, index) ? slow.rate : rate,
      site: siteOf(fleetCase, index),
    }))
    const upstream = { name: 'upstream', address: '10.77.1.1', rate: upstreamRate }
    const cache = { name: 'cache', address: '10.77.1.2', rate }
    const probe = { name: 'probe', address: '10.77.1.3' }
    this.#tools = tools
    this.#case = fleetCase
    this.#links = [...links, upstream, cache, probe]
    this.nodes = links
    this.upstream = upstream
    this.cache = cache
    this.probe = probe
  }

  static async create(tools: Tools, fleetCase: FleetCase): Promise<Lan> {
    const lan = new Lan(tools, fleetCase)
    try {
      await lan.#build()
      return lan
    } catch (error) {
      await lan[Symbol.asyncDispose]()
      throw error
    }
  }

  /** Words before a command that is to run on a host. The command's process has the id of the process that they start. */
  on({ name }: Host): [command: string, ...args: string[]] {
    return ['nsenter', `--net=/run/netns/${name}`]
  }

  /** Runs a program on a host to its end. @throws Error when it fails */
  run(host: Host, words: readonly string[], deadlineMs?: number): Promise<string> {
    const [command, ...args] = [...this.on(host), ...words] as [string, ...string[]]
    return run(command, args, deadlineMs === undefined ? {} : { deadlineMs })
  }

  /** Bytes of frames that went through the line between two sites, in both directions. */
  async crossed(): Promise<number> {
    const counted = await Promise.all(
      ['line0', 'line1'].map(async (device) => {
        const args = ['-n', SWITCH, '-s', 'class', 'show', 'dev', device, 'classid', THIN]
        const bytes = /Sent (\d+) bytes/.exec(await run(join(this.#tools.bookworm, 'sbin/tc'), args))?.[1]
        if (bytes === undefined) throw new Error(`the line between two sites is not there: ${device}`)
        return Number(bytes)
      }),
    )
    return counted.reduce((sum, bytes) => sum + bytes, 0)
  }

  /** Whatever still runs on it has lost its network. */
  async [Symbol.asyncDispose](): Promise<void> {
    const names = [SWITCH, ...this.#links.map(({ name }) => name)]
    await this.#ip(
      [],
      names.map((name) => `netns del ${name}`),
      ['-force'],
    ).catch(() => {})
  }

  async #build(): Promise<void> {
    const links = this.#links
    const { mtu, queue, congestion, between } = this.#case
    await this.#ip(
      [],
      [SWITCH, ...links.map(({ name }) => name)].map((name) => `netns add ${name}`),
    )
    await this.#ip(
      ['-n', SWITCH],
      [
        'link set lo up',
        ...[0, 1].flatMap((site) => [
          `link add br${site} mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
          `link set br${site} up`,
        ]),
        ...links.flatMap(({ name, site = 0 }) => [
          `link add ${name} mtu ${mtu} type veth peer name eth0 netns ${name}`,
          `link set ${name} master br${site} up`,
        ]),
      ],
    )
    if (between !== undefined) await this.#join(between)
    // A link's two directions are shaped where they begin: at the host, and at the switch's port.
    await this.#tc(
      SWITCH,
      links.flatMap(({ name, rate }) => (rate ? [shaping(name, rate, queue)] : [])),
    )
    for (const { name, address, rate } of links) {
      await this.#ip(
        ['-n', name],
        [
          'link set lo up',
          // Of two hosts that differ, TCP takes the smaller one.
          `link set eth0 mtu ${rate && rate < SLOW.rate ? Math.min(mtu, SLOW.mtu) : mtu} up`,
          `addr add ${address}/16 brd + dev eth0`,
          `route change 10.77.0.0/16 dev eth0 congctl ${congestion}`,
          // aria2's local peer discovery needs a route; layerd's multicast must not be helped by one.
          'route add 239.192.152.143 dev eth0',
          ...this.#routesBetween(name),
        ],
      )
      if (rate) await this.#tc(name, [shaping('eth0', rate, queue)])
    }
  }

  /** The line between two sites. @param rate Mbit/s */
  async #join(rate: number): Promise<void> {
    const { mtu, queue } = this.#case
    await this.#ip(
      ['-n', SWITCH],
      [
        'link add line0 type veth peer name line1',
        ...['line0', 'line1'].map((device) => `link set ${device} mtu ${mtu}`),
        'link set line0 master br0 up',
        'link set line1 master br1 up',
      ],
    )
    const thin = `${Math.round(rate * 1000)}kbit burst ${Math.round(burstKiB(rate))}kb`
    const lines = ['line0', 'line1'].flatMap((device) => [
      `qdisc add dev ${device} root handle 1: htb default 10`,
      `class add dev ${device} parent 1: classid ${THIN} htb rate ${thin}`,
      `class add dev ${device} parent 1: classid 1:20 htb rate 10gbit burst 1mb`,
      `qdisc add dev ${device} parent ${THIN} bfifo limit ${Math.round((rate * 1000 * queue) / 8)}`,
      ...['src', 'dst'].map(
        (end) => `filter add dev ${device} parent 1: protocol ip prio 1 u32 match ip ${end} ${BEYOND} flowid 1:20`,
      ),
    ])
    await this.#tc(SWITCH, lines)
  }

  /** Packets for the other site are smaller where the line between is slow. */
  #routesBetween(name: string): string[] {
    const own = this.#links.find((link) => link.name === name)?.site
    const { between, mtu, congestion } = this.#case
    if (between === undefined || between >= SLOW.rate || own === undefined) return []
    const others = this.#links.filter(({ site }) => site !== undefined && site !== own)
    return others.map(
      ({ address }) => `route add ${address} dev eth0 mtu ${Math.min(mtu, SLOW.mtu)} congctl ${congestion}`,
    )
  }

  async #ip(where: readonly string[], lines: readonly string[], options: readonly string[] = []): Promise<void> {
    const args = [...where, ...options, '-batch', '-']
    await run(join(this.#tools.bookworm, 'bin/ip'), args, { input: `${lines.join('\n')}\n` })
  }

  async #tc(namespace: string, lines: readonly string[]): Promise<void> {
    const args = ['-n', namespace, '-batch', '-']
    await run(join(this.#tools.bookworm, 'sbin/tc'), args, { input: `${lines.join('\n')}\n` })
  }
}

/** The token bucket of one direction of a link. @param rate Mbit/s @param queue ms */
function shaping(device: string, rate: number, queue: number): string {
  const burst = Math.round(burstKiB(rate))
  return `qdisc add dev ${device} root tbf rate ${Math.round(rate * 1000)}kbit burst ${burst}kb latency ${queue}ms`
}

/** Sizes of the bucket that were seen to hold their rate: a smaller one loses some of it, a larger one lets bursts through. */
const BURSTS = [
  { rate: 10, kib: 16 },
  { rate: 100, kib: 64 },
  { rate: 1000, kib: 1024 },
] as const

function burstKiB(rate: number): number {
  const [low, middle, high] = BURSTS
  const [from, to] = rate < middle.rate ? [low, middle] : [middle, high]
  const share = Math.log(rate / from.rate) / Math.log(to.rate / from.rate)
  return Math.max(low.kib, from.kib * (to.kib / from.kib) ** share)
}

/** Bytes of frames that have left a host's link, counted in the namespace of the process. */
export async function sentFrames(pid: number): Promise<number> {
  const line = /^\s*eth0:(.*)$/m.exec(await readFile(`/proc/${pid}/net/dev`, 'utf8'))?.[1]
  const sent = Number(line?.trim().split(/\s+/)[8])
  if (!Number.isFinite(sent)) throw new Error(`process ${pid} has no link`)
  return sent
}
