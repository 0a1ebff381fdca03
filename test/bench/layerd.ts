import { mkdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { freePort, waitFor } from '../e2e/exec.ts'
import { Child } from './child.ts'

const SOURCE = join(import.meta.dirname, '../../daemon/cli/bin.ts')
const REQUEST_DEADLINE_MS = 5_000
const SWARM_DEADLINE_MS = 30_000

interface LayerdOptions {
  /** Folder for the log and the data. */
  folder: string
  /** Base URL of the registry that stands for docker.io. */
  upstream: string
  /** Nodes to join. */
  seeds?: readonly Layerd[]
  /** Folder for a CPU profile. */
  profile?: string | undefined
  /** The program, by default that of the source tree. */
  program?: string | undefined
  /** Environment variables that set options. */
  settings?: NodeJS.ProcessEnv | undefined
}

/** A running node, as its own process. */
export class Layerd implements AsyncDisposable {
  /** Base URL of its registry. */
  readonly url: string
  readonly #admin: string
  readonly #multiaddr: string
  readonly #child: Child
  readonly #folder: string

  private constructor(child: Child, folder: string, [registry, admin, p2p]: readonly number[]) {
    this.#child = child
    this.#folder = folder
    this.url = `http://127.0.0.1:${registry}`
    this.#admin = `http://127.0.0.1:${admin}`
    this.#multiaddr = `/ip4/127.0.0.1/tcp/${p2p}`
  }

  /** Starts `layerd serve` and waits until it is ready for clients. */
  static async start(options: LayerdOptions): Promise<Layerd> {
    const { folder, upstream, seeds = [], profile, program = SOURCE, settings = {} } = options
    mkdirSync(folder, { recursive: true })
    const ports = [await freePort(), await freePort(), await freePort(), await freePort()]
    const [registry, admin, p2p, transfer] = ports
    const args = [
      ...(profile ? ['--cpu-prof', '--cpu-prof-dir', profile] : []),
      ...[program, 'serve', '--data-dir', join(folder, 'data'), '--registry', `docker.io=${upstream}`, '--no-mdns'],
      ...['--listen', `127.0.0.1:${registry}`, '--admin', `127.0.0.1:${admin}`],
      ...['--p2p-listen', `127.0.0.1:${p2p}`, '--transfer-listen', `127.0.0.1:${transfer}`],
      ...seeds.flatMap((seed) => ['--seed', seed.#multiaddr]),
    ]
    // What the person who runs the bench has set for a node of theirs, or stored as credentials, is not meant for this.
    const foreign = Object.keys(process.env).filter((name) => name.startsWith('LAYERD_'))
    const env = { ...Object.fromEntries(foreign.map((name) => [name, undefined])), ...OWN_ENVIRONMENT, ...settings }
    const child = new Child('layerd', join(folder, 'log'), process.execPath, args, env)
    const node = new Layerd(child, folder, ports)
    try {
      await child.ready(async () => (await node.#ask('/readyz')).ok)
      return node
    } catch (error) {
      await node[Symbol.asyncDispose]()
      throw error
    }
  }

  get pid(): number {
    return this.#child.pid
  }

  /** Where its peers connect to it. */
  get multiaddr(): string {
    return this.#multiaddr
  }

  async status(): Promise<NodeStatus> {
    return (await (await this.#ask('/api/v1/status')).json()) as NodeStatus
  }

  /** Waits until it can move blobs from and to so many peers. */
  async connected(peers: number): Promise<void> {
    await waitFor(
      `connections to ${peers} peers`,
      async () => (await this.status()).peers.filter((peer) => peer.transfer).length >= peers,
      SWARM_DEADLINE_MS,
    )
  }

  /** Waits until it has announced so many blobs to the swarm, which it does some time after their clients have them. */
  async announced(blobs: number): Promise<void> {
    const done = async () => {
      const { provided, provideQueue } = await this.status()
      return provided >= blobs && provideQueue === 0
    }
    await waitFor(`the announcement of ${blobs} blobs`, done, SWARM_DEADLINE_MS)
  }

  /** Stops it and leaves its data. */
  async stop(): Promise<void> {
    await this.#child.stop()
  }

  /** Stops it and removes its data: what is removed soon enough is never written to the disk. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }

  #ask(path: string): Promise<Response> {
    return fetch(this.#admin + path, { signal: AbortSignal.timeout(REQUEST_DEADLINE_MS) })
  }
}

const OWN_ENVIRONMENT = {
  LAYERD_UPSTREAM_DOCKER_CONFIG: '/nonexistent/config.json',
  // Its registries are on this machine, and nobody's secret.
  LAYERD_REPOSITORIES_PUBLIC: '**',
}
