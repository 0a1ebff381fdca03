import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { Daemon, freePort } from './exec.ts'
import type { Jail } from './jail.ts'

const BIN = join(import.meta.dirname, '../../daemon/cli/bin.ts')
const REQUEST_DEADLINE_MS = 30_000

export interface NodeOptions {
  jail: Jail
  name: string
  /** Address of the registry that stands for docker.io. */
  upstream: string
  /** A node to join. */
  seed?: LayerdNode
  /** It looks for peers by multicast DNS, and listens for them on all addresses. */
  mdns?: boolean
  /** It has a second address, which asks for a login. */
  login?: boolean
  /** More arguments for `layerd serve`. */
  args?: readonly string[]
  /** `LAYERD_*` variables. */
  settings?: Readonly<Record<string, string>>
}

/** Bytes that a node has fetched since it started, by where they came from. */
export interface FetchedBytes {
  upstream: number
  peer: number
}

/** A running layerd. */
export interface LayerdNode {
  name: string
  /** Its data folder, by which commands find it. */
  dataDir: string
  /** Where clients reach its registry: `127.0.0.1:<port>`. */
  address: string
  /** The same where clients are asked for a login; empty where there is none. */
  login: string
  /** Put before repositories where a client has to name docker.io in the path. */
  prefix: string
  /** Where its libp2p listens, as a multiaddr. */
  multiaddr: string
  fetched(): Promise<FetchedBytes>
  /** Number of peers it is connected to. */
  peers(): Promise<number>
  log(): Promise<string>
  stop(signal?: NodeJS.Signals): Promise<void>
}

/** Starts layerd from the source tree with an empty data directory, and waits until it is ready for clients. */
export async function startNode({
  jail,
  name,
  upstream,
  seed,
  mdns = false,
  login = false,
  args = [],
  settings = {},
}: NodeOptions): Promise<LayerdNode> {
  // Other stories of the jail have nodes of the same name, and what those hold is not to be found here.
  const folder = await mkdtemp(join(jail.work, `${name}-`))
  const dataDir = join(folder, 'data')
  const [registry, admin, p2p, transfer] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const host = mdns ? '0.0.0.0' : '127.0.0.1'
  const flags = [
    ...['--listen', `127.0.0.1:${registry}`, '--admin', `127.0.0.1:${admin}`],
    ...['--p2p-listen', `${host}:${p2p}`, '--transfer-listen', `${host}:${transfer}`],
    ...['--data-dir', dataDir, '--registry', `docker.io=${upstream}`],
    ...(mdns ? [] : ['--no-mdns']),
    ...(seed ? ['--seed', seed.multiaddr] : []),
    ...args,
  ]
  const loginAddress = login ? `127.0.0.1:${await freePort()}` : ''
  // The registry of the story is not Docker Hub at its own address, and nobody's secret.
  const env = {
    ...process.env,
    LAYERD_REGISTRY_LOGIN_LISTEN: loginAddress,
    LAYERD_REPOSITORIES_PUBLIC: 'docker.io/**',
    ...settings,
  }
  const daemon = new Daemon(`layerd ${name}`, join(folder, 'log'), process.execPath, [BIN, 'serve', ...flags], { env })
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${admin}${path}`, {
      signal: AbortSignal.timeout(REQUEST_DEADLINE_MS),
    })
    if (!response.ok) throw new Error(`${name} ${path}: ${response.status}`)
    return response.text()
  }
  try {
    await daemon.ready(() => ask('/readyz'))
  } catch (error) {
    await daemon.stop('SIGKILL')
    throw error
  }
  return {
    name,
    dataDir,
    address: `127.0.0.1:${registry}`,
    login: loginAddress,
    prefix: 'docker.io/',
    multiaddr: `/ip4/127.0.0.1/tcp/${p2p}`,
    fetched: async () => fetchedBytes(await ask('/metrics')),
    peers: async () => JSON.parse(await ask('/api/v1/status')).peers.length,
    log: () => daemon.log(),
    stop: (signal) => daemon.stop(signal),
  }
}

/** Reads `layerd_fetched_bytes_total` from a page of Prometheus metrics; a source that is not there yet counts 0. */
function fetchedBytes(metrics: string): FetchedBytes {
  const total = (source: string) => {
    const lines = metrics.split('\n').filter((line) => line.startsWith('layerd_fetched_bytes_total{'))
    return lines.filter((line) => line.includes(`source="${source}"`)).reduce((sum, line) => sum + lastNumber(line), 0)
  }
  return { upstream: total('upstream'), peer: total('peer') }
}

function lastNumber(line: string): number {
  return Number(line.slice(line.lastIndexOf(' ')))
}
