import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { waitFor } from '../../e2e/exec.ts'
import { Child } from '../child.ts'
import type { Contender, Pull, World } from './contender.ts'
import { type Host, type Lan, sentFrames } from './lan.ts'
import { torrentOf } from './torrent.ts'

const PORT = 6881
/** The port of local peer discovery (BEP 14), 6771, as in /proc/net/udp. */
const DISCOVERY = ':1A73 '
const RPC_PORT = 6800
/** aria2 looks for connections to make every 10 s, also after its start. */
const MEET_DEADLINE_MS = 45_000
/** So little is sent until the start; aria2 knows no pause in which connections stand. */
const HELD_BACK = '1K'
const POLL_MS = 50
/** Of what stat(2) counts. */
const BLOCK_BYTES = 512

/**
 * aria2 on each node, one seed on upstream's host and link. Nodes find each other by multicast, as it has no tracker, and
 * have done so before the start, when the seed is let go: the first 10 s of aria2's own waiting would say nothing.
 */
export async function startBittorrent(world: World): Promise<Contender> {
  const { lan, logs, folder, blobs, image } = world
  await using scope = new AsyncDisposableStack()
  const torrent = join(folder, 'image.torrent')
  writeFileSync(torrent, await torrentOf(blobs, image.blobs))
  const pulls = lan.nodes.map((host) => scope.use(new TorrentPull(world, host, torrent)))
  // A seed connects to nobody, and says only once that it is there.
  await Promise.all(pulls.map((pull) => pull.ready()))
  const seed = scope.use(
    startAria2(world, lan.upstream, join(logs, 'seed.log'), [
      ...['--enable-rpc', `--rpc-listen-port=${RPC_PORT}`, `--max-overall-upload-limit=${HELD_BACK}`],
      ...['--bt-seed-unverified=true', `--dir=${dirname(blobs)}`, torrent],
    ]),
  )
  const haveMet = async () => (await connections(lan).catch(() => 0)) >= pulls.length
  await waitFor('connections of all nodes to the seed', haveMet, MEET_DEADLINE_MS)
  const before = await sentFrames(seed.pid)
  const running = scope.move()
  return {
    pulls,
    daemons: pulls.map((pull) => pull.pid),
    clients: [],
    shared: [seed.pid],
    go() {
      const failed = (error: Error) => pulls.forEach((pull) => void pull.fail(error))
      ask(lan, 'changeGlobalOption', [{ 'max-overall-upload-limit': '0' }]).catch(failed)
    },
    // It keeps no account that could be read: frames are a few per cent more than their content.
    sent: async () => (await sentFrames(seed.pid)) - before,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function startAria2(world: World, host: Host, log: string, more: readonly string[]): Child {
  const words = [
    ...[...world.lan.on(host), join(world.tools.bookworm, 'usr/bin/aria2c')],
    ...[
      '--no-conf',
      '--quiet',
      '--log=-',
      '--log-level=debug',
      '--enable-dht=false',
      '--enable-dht6=false',
      '--disable-ipv6',
      '--bt-enable-lpd=true',
    ],
    ...['--bt-lpd-interface=eth0', '--enable-peer-exchange=true', `--listen-port=${PORT}`, '--bt-max-peers=0'],
    // They go on for the others until they are stopped, write what they get at once, and connect to all they know of.
    ...['--seed-ratio=0.0', '--seed-time=10000', '--file-allocation=none', '--disk-cache=0'],
    ...['--bt-request-peer-speed-limit=1024M', '--allow-overwrite=true', '--async-dns=false'],
    ...more,
  ]
  const [command, ...args] = words as [string, ...string[]]
  return new Child(`aria2 on ${host.name}`, log, command, args)
}

/** Calls the seed (aria2's manual, RPC INTERFACE). */
async function ask(lan: Lan, method: string, params: readonly unknown[]): Promise<unknown> {
  const call = JSON.stringify({ jsonrpc: '2.0', id: 1, method: `aria2.${method}`, params })
  const url = `http://127.0.0.1:${RPC_PORT}/jsonrpc`
  const answer = await lan.run(lan.upstream, ['curl', '-q', '-sSf', '--noproxy', '*', '--json', call, url])
  return JSON.parse(answer).result
}

/** How many peers the seed is connected to. */
async function connections(lan: Lan): Promise<number> {
  const active = (await ask(lan, 'tellActive', [['connections']])) as { connections: string }[]
  return Number(active[0]?.connections)
}

class TorrentPull implements Pull, AsyncDisposable {
  readonly finished: Promise<number>
  readonly #child: Child
  readonly #files: readonly string[]
  readonly #ended = Promise.withResolvers<number>()
  readonly #watch: NodeJS.Timeout

  constructor(world: World, host: Host, torrent: string) {
    const folder = join(world.folder, `data-${host.name}`)
    const [done, hook] = [join(folder, 'done'), join(folder, 'hook')]
    mkdirSync(folder)
    writeFileSync(hook, `#!/bin/sh\n: > ${done}\n`, { mode: 0o755 })
    this.#files = world.image.blobs.map(({ digest }) => join(folder, 'sha256', digest.slice('sha256:'.length)))
    const log = join(world.logs, `${host.name}.log`)
    this.#child = startAria2(world, host, log, [`--on-bt-download-complete=${hook}`, `--dir=${folder}`, torrent])
    this.finished = this.#ended.promise
    // Whoever stops a pull does not ask how it ended.
    this.finished.catch(() => {})
    this.#watch = setInterval(() => {
      // The time is aria2's, not that of looking.
      if (existsSync(done)) this.#ended.resolve(statSync(done).mtimeMs - performance.timeOrigin)
    }, POLL_MS)
  }

  get pid(): number {
    return this.#child.pid
  }

  /** Waits until it hears of others. */
  ready(): Promise<void> {
    return this.#child.ready(async () => (await readFile(`/proc/${this.pid}/net/udp`, 'utf8')).includes(DISCOVERY))
  }

  bytes(): number {
    const sizes = this.#files.map((file) => statSync(file, { throwIfNoEntry: false }))
    return sizes.reduce((sum, stats) => sum + (stats ? Math.min(stats.blocks * BLOCK_BYTES, stats.size) : 0), 0)
  }

  fail(error: Error): void {
    this.#ended.reject(error)
  }

  stop(): void {
    void this[Symbol.asyncDispose]()
  }

  [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watch)
    this.fail(new Error('stopped'))
    return this.#child.kill()
  }
}
