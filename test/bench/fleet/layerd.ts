import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { NodeStatus } from '../../../daemon/admin/app.ts'
import { Child } from '../child.ts'
import { pullsFrom } from './baselines.ts'
import { siteOf } from './case.ts'
import type { Contender, World } from './contender.ts'
import type { Host, Lan } from './lan.ts'

const REGISTRY_URL = 'http://127.0.0.1:5050'
const ADMIN_URL = 'http://127.0.0.1:5051'
const P2P_PORT = 4050
const SEEDS = 2
/** Started at once: a start is CPU, and a machine has few cores. */
const STARTS_AT_ONCE = 4
/** Nodes that missed each other at first look around again once a minute. */
const MEET_DEADLINE_MS = 150_000
const MEET_POLL_MS = 200
const FIRST_PULL_DEADLINE_MS = 120_000

/** A layerd on each node. They have met, and each has passed a small image on before it counts. */
export async function startLayerd(world: World): Promise<Contender> {
  await using scope = new AsyncDisposableStack()
  const nodes: LayerdNode[] = []
  const hosts = [...world.lan.nodes]
  // Seeds first: whoever comes later finds them there.
  for (let batch = hosts.splice(0, SEEDS); batch.length > 0; batch = hosts.splice(0, STARTS_AT_ONCE)) {
    const started = batch.map((host) => scope.use(new LayerdNode(world, host)))
    nodes.push(...started)
    await Promise.all(started.map((node) => node.ready()))
  }
  const began = performance.now()
  await untilMet(nodes)
  world.log(`all nodes had met after ${((performance.now() - began) / 1000).toFixed(1)} s`)
  await firstPull(world)
  if (world.fleetCase.hasHolder) await holderPull(world, nodes[0])
  const fetched = () => Promise.all(nodes.map((node) => node.fetched('upstream')))
  const before = await fetched()
  const pulls = pullsFrom(world, REGISTRY_URL)
  const running = scope.move()
  return {
    pulls,
    daemons: nodes.map((node) => node.pid),
    clients: pulls.map(({ pid }) => pid),
    go: () => pulls.forEach((pull) => void pull.go()),
    shared: [],
    ...(world.fleetCase.between !== undefined && {
      async crossed() {
        return (await Promise.all(nodes.map((node) => node.fetched('far')))).reduce((sum, bytes) => sum + bytes, 0)
      },
    }),
    async killBusiest() {
      const bytes = (await fetched()).map((now, index) => now - (before[index] ?? 0))
      const most = Math.max(...bytes)
      const index = bytes.indexOf(most)
      await nodes[index]?.kill()
      return { index, fetched: most }
    },
    verify: async (index) => await nodes[index]?.verify(world),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

class LayerdNode implements AsyncDisposable {
  readonly host: Host
  readonly #lan: Lan
  readonly #child: Child
  readonly #data: string
  readonly #log: string

  constructor({ lan, program, upstream, folder, logs, fleetCase }: World, host: Host) {
    this.host = host
    this.#lan = lan
    this.#data = join(folder, `data-${host.name}`)
    this.#log = join(logs, `${host.name}.log`)
    mkdirSync(this.#data, { recursive: true })
    const seeds = lan.nodes.slice(0, SEEDS).filter((seed) => seed !== host)
    const words = [
      ...[...lan.on(host), process.execPath, program, 'serve', '--data-dir', this.#data, '--no-mdns'],
      ...['--registry', `docker.io=${upstream.url}`],
      ...seeds.flatMap(({ address }) => ['--seed', `/ip4/${address}/tcp/${P2P_PORT}`]),
    ]
    const [command, ...args] = words as [string, ...string[]]
    // What the person who runs the bench has set for a node of theirs, or stored as credentials, is not meant for this.
    const foreign = Object.keys(process.env).filter((name) => name.startsWith('LAYERD_'))
    this.#child = new Child(`layerd on ${host.name}`, this.#log, command, args, {
      ...Object.fromEntries(foreign.map((name) => [name, undefined])),
      ...(fleetCase.between !== undefined && {
        LAYERD_SWARM_SITE: `site-${siteOf(fleetCase, lan.nodes.indexOf(host))}`,
      }),
      LAYERD_UPSTREAM_DOCKER_CONFIG: '/nonexistent/config.json',
      // The registry of the bench is nobody's secret.
      LAYERD_REPOSITORIES_PUBLIC: '**',
      // Its compiled modules are shared with the other nodes, and with nobody else.
      XDG_CACHE_HOME: join(folder, '..'),
    })
  }

  get pid(): number {
    return this.#child.pid
  }

  ready(): Promise<void> {
    return this.#child.ready(async () => (await readFile(this.#log, 'utf8')).includes('"msg":"ready"'))
  }

  /** Number of peers that it can move blobs from and to. */
  async peers(): Promise<number> {
    const status = JSON.parse(await this.#ask('/api/v1/status')) as NodeStatus
    return status.peers.filter((peer) => peer.transfer).length
  }

  /** Whether it has announced all that it has. */
  async hasAnnounced(): Promise<boolean> {
    const { store, provided, provideQueue } = JSON.parse(await this.#ask('/api/v1/status')) as NodeStatus
    return provided === store.blobs && provideQueue === 0
  }

  async fetched(source: 'upstream' | 'far'): Promise<number> {
    const metrics = await this.#ask('/metrics')
    const line = new RegExp(`^layerd_fetched_bytes_total\\{source="${source}"\\} (\\S+)$`, 'm')
    return Number(line.exec(metrics)?.[1] ?? 0)
  }

  kill(): Promise<void> {
    return this.#child.kill()
  }

  /** Reads what it has stored, since its client threw everything away. */
  async verify({ image }: World): Promise<void> {
    for (const { digest } of image.blobs) {
      const hash = createHash('sha256')
      await pipeline(createReadStream(join(this.#data, 'blobs', digest.replace(':', '/'))), hash)
      if (`sha256:${hash.digest('hex')}` !== digest) throw new Error(`${this.host.name} holds a damaged ${digest}`)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#child.stop()
  }

  #ask(path: string): Promise<string> {
    return this.#lan.run(this.host, ['curl', '-q', '-sSf', '--noproxy', '*', '--max-time', '5', ADMIN_URL + path])
  }
}

async function untilMet(nodes: readonly LayerdNode[]): Promise<void> {
  const until = performance.now() + MEET_DEADLINE_MS
  for (const node of nodes) {
    for (let peers = -1; peers < nodes.length - 1; await sleep(MEET_POLL_MS)) {
      peers = await node.peers()
      if (peers >= nodes.length - 1) break
      if (performance.now() > until) throw new Error(`${node.host.name} has met ${peers} of ${nodes.length - 1} peers`)
    }
  }
}

/** Connections stand and code is compiled afterwards, as in a fleet that has run for a while. */
/** One node has the image before the others ask for it. */
async function holderPull(world: World, node: LayerdNode | undefined): Promise<void> {
  const pulls = pullsFrom(world, REGISTRY_URL)
  try {
    pulls[0]?.go()
    await pulls[0]?.finished
  } finally {
    for (const pull of pulls) pull.stop()
  }
  while ((await node?.hasAnnounced()) === false) await sleep(100)
  await world.upstream.settled()
}

async function firstPull(world: World): Promise<void> {
  const pulls = pullsFrom(world, REGISTRY_URL, world.first)
  const timer = setTimeout(() => pulls.forEach((pull) => void pull.stop()), FIRST_PULL_DEADLINE_MS)
  try {
    for (const pull of pulls) pull.go()
    await Promise.all(pulls.map((pull) => pull.finished))
  } finally {
    clearTimeout(timer)
  }
  await world.upstream.settled()
}
