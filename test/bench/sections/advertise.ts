import { mkdirSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { peerIdFromString } from '@libp2p/peer-id'
import { LevelDatastore } from 'datastore-level'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as raw from 'multiformats/codecs/raw'
import { decode } from 'multiformats/hashes/digest'
import { digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { waitFor } from '../../e2e/exec.ts'
import type { Bench, Section } from '../bench.ts'
import { layerUrl, writeBlob } from '../image.ts'
import { Layerd } from '../layerd.ts'
import { median } from '../measure.ts'
import { cpuSeconds } from '../proc.ts'
import { startFileRegistry } from '../registries.ts'
import { type Row, toRow } from '../report.ts'

const NODES = 5
const BLOBS = 10_000
/** From the last connection on, within which all is announced. */
const ROUND_MS = 30_000
/** After it, when nothing is left to announce. */
const IDLE_MS = 60_000
const HOUR_MS = 3_600_000
const DEADLINE_MS = 60_000
const FRESH_BLOBS = 20
const FRESH_BYTES = 4096

const CPU_GOAL_S = 20
const FOUND_GOAL_MS = 1000

interface Observed {
  /** CPU seconds of each node from its start to the end of the round. */
  readonly round: readonly number[]
  /** CPU seconds of each node after it. */
  readonly idle: readonly number[]
}

/** What it costs to have many blobs announced, and how soon a fresh one is found. */
export const advertise: Section = {
  name: 'advertise',
  title: `CPU time an hour to keep ${BLOBS} blobs announced, each of ${NODES} nodes, and time until a fresh one is found`,
  async run(bench) {
    const layout = join(bench.folder, 'layout')
    mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
    await using scope = new AsyncDisposableStack()
    const upstream = scope.use(await startFileRegistry(layout, join(bench.folder, 'upstream.log')))
    // Answers at once that it has nothing: the last node gets blobs from its peers or not at all.
    const nothing = scope.use(await startFileRegistry(join(bench.folder, 'none'), join(bench.folder, 'none.log')))
    const upstreamOf = (index: number) => (index === NODES - 1 ? nothing : upstream).url
    const full = scope.use(new Swarm(bench, 'full', upstreamOf))
    const empty = scope.use(new Swarm(bench, 'empty', upstreamOf))
    await full.fill(BLOBS)
    await empty.fill(0)
    await full.start()
    await empty.start()
    // At the same time: CPU time depends on what else the machine does.
    const [held, nothingHeld] = await Promise.all([observe(full.nodes, BLOBS), observe(empty.nodes, 0)])
    const atRest = await freshBlobs(layout, full.nodes, 'at rest')
    await full.restart(0)
    const inRound = await freshBlobs(layout, full.nodes, 'in a round')
    await full.stop()
    const cleanUp = await cleanUpSeconds(join(full.folderOf(1), 'data/dht'))
    return [...rowsOf(nothingHeld, held, cleanUp), ...foundRows(atRest, inRound)]
  },
}

/** Nodes with a swarm key, since what has no record is shared with such a swarm only. */
class Swarm implements AsyncDisposable {
  readonly nodes: Layerd[] = []
  readonly #bench: Bench
  readonly #name: string
  readonly #upstreamOf: (index: number) => string

  constructor(bench: Bench, name: string, upstreamOf: (index: number) => string) {
    this.#bench = bench
    this.#name = name
    this.#upstreamOf = upstreamOf
  }

  folderOf(index: number): string {
    return join(this.#bench.folder, `${this.#name}-${index}`)
  }

  /** Gives each node so many blobs, the same ones, of which none was announced before. */
  async fill(blobs: number): Promise<void> {
    const swarmKey = join(this.#bench.folder, 'swarm.key')
    await writeFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${'5a'.repeat(32)}\n`)
    for (let index = 0; index < NODES; index++) await fill(this.folderOf(index), blobs, () => this.#start(index))
  }

  /** Starts all nodes, and waits until they are connected. */
  async start(): Promise<void> {
    for (let index = 0; index < NODES; index++) this.nodes.push(await this.#start(index))
    for (const node of this.nodes) await node.connected(NODES - 1)
  }

  async restart(index: number): Promise<void> {
    await this.nodes[index]?.stop()
    this.nodes[index] = await this.#start(index)
    for (const node of this.nodes) await node.connected(NODES - 1)
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.splice(0).map((node) => node.stop()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #start(index: number): Promise<Layerd> {
    return Layerd.start({
      folder: this.folderOf(index),
      upstream: this.#upstreamOf(index),
      seeds: this.nodes.filter((_, other) => other !== index),
      profile: this.#bench.options.profile,
      // Reading all blobs again and again is not what is measured.
      settings: { LAYERD_SWARM_SWARM_KEY: join(this.#bench.folder, 'swarm.key'), LAYERD_STORE_SCRUB_RATE: '0' },
    })
  }
}

/** Puts blobs into a store, and lets a node adopt them, whose records of them go. */
async function fill(folder: string, blobs: number, start: () => Promise<Layerd>): Promise<void> {
  const data = join(folder, 'data')
  mkdirSync(join(data, 'blobs/sha256'), { recursive: true })
  for (let index = 0; index < blobs; index++) {
    const bytes = Buffer.from(`blob ${index}`)
    await writeFile(join(data, 'blobs/sha256', hexOf(digestOf(bytes))), bytes)
  }
  const node = await start()
  await waitFor('adoption', async () => (await node.status()).store.blobs >= blobs, DEADLINE_MS)
  await node.stop()
  await rm(join(data, 'dht'), { recursive: true, force: true })
}

async function observe(nodes: readonly Layerd[], blobs: number): Promise<Observed> {
  const cpu = () => Promise.all(nodes.map((node) => cpuSeconds(node.pid)))
  await sleep(ROUND_MS)
  for (const node of nodes) {
    const { provided, provideQueue } = await node.status()
    if (provided < blobs || provideQueue > 0) {
      throw new Error(`${provided} of ${blobs} blobs announced and ${provideQueue} queued after ${ROUND_MS} ms`)
    }
  }
  const round = await cpu()
  await sleep(IDLE_MS)
  const end = await cpu()
  return { round, idle: end.map((seconds, index) => seconds - (round[index] ?? Number.NaN)) }
}

/**
 * Milliseconds from the end of a client's pull of a new blob, from upstream, until a node whose upstream does not have it has
 * served it.
 */
async function freshBlobs(layout: string, nodes: readonly Layerd[], when: string): Promise<number[]> {
  const [first, last] = [nodes[0]?.url, nodes.at(-1)?.url]
  const times: number[] = []
  for (let index = 0; index < FRESH_BLOBS; index++) {
    const layer = await writeBlob(layout, FRESH_BYTES, `${when} ${index}`)
    const path = layerUrl('', { repository: 'bench/fresh', reference: '', layer })
    if (!(await pull(`${first}${path}`))) throw new Error(`${path} can not be pulled`)
    const completed = performance.now()
    while (!(await pull(`${last}${path}`))) {
      if (performance.now() - completed > DEADLINE_MS) throw new Error(`${path} is not found by another node`)
    }
    times.push(performance.now() - completed)
  }
  return times
}

async function pull(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS) })
  await response.arrayBuffer()
  return response.ok
}

/**
 * CPU seconds of what kad-dht does once an hour: it reads all records, and drops those that have expired. That no run is long
 * enough for; so the records of a node are read here in the same way. Says how many there are, too.
 */
async function cleanUpSeconds(folder: string): Promise<{ records: number; seconds: number }> {
  const datastore = new LevelDatastore(folder)
  await datastore.open()
  const before = process.cpuUsage()
  let records = 0
  for await (const { key } of datastore.query({ prefix: '/dht/provider' })) {
    const [, , , multihash = '', peer = ''] = key.toString().split('/')
    CID.createV1(raw.code, decode(base32.baseDecode(multihash)))
    peerIdFromString(peer)
    records++
  }
  const { user, system } = process.cpuUsage(before)
  await datastore.close()
  return { records, seconds: (user + system) / 1e6 }
}

function rowsOf(empty: Observed, held: Observed, cleanUp: { records: number; seconds: number }): Row[] {
  const difference = (part: keyof Observed) => held[part].map((cpu, index) => cpu - (empty[part][index] ?? Number.NaN))
  const round = difference('round')
  const idle = difference('idle').map((seconds) => Math.max(0, seconds) * (HOUR_MS / IDLE_MS))
  const hour = round.map((seconds, index) => seconds + (idle[index] ?? Number.NaN) + cleanUp.seconds)
  const list = (values: readonly number[]) => values.map((value) => value.toFixed(2)).join(', ')
  return [
    toRow({
      what: `CPU time in the first hour, ${NODES} nodes with ${BLOBS} blobs each, the busiest node`,
      unit: 's',
      layerd: [Math.max(...hour)],
      goal: { of: 'figure', atMost: CPU_GOAL_S },
      note:
        `more than ${NODES} nodes without blobs at the same time: all announced and stored ${list(round)} s, then an hour ` +
        `${list(idle)} s (of 60 s idle: ${list(held.idle)} s, without blobs ${list(empty.idle)} s); kad-dht's hourly look ` +
        `at ${cleanUp.records} records ${cleanUp.seconds.toFixed(2)} s`,
    }),
  ]
}

function foundRows(rest: readonly number[], round: readonly number[]): Row[] {
  return [
    { when: 'at rest', times: rest },
    { when: `while a node that was just started announces its ${BLOBS}`, times: round },
  ].map(({ when, times }) =>
    toRow({
      what: `a fresh blob comes from a peer, after its pull from upstream, ${when}, slowest of ${FRESH_BLOBS}`,
      unit: 'ms',
      layerd: [Math.max(...times)],
      goal: { of: 'figure', atMost: FOUND_GOAL_MS },
      note: `median ${median(times).toFixed(1)} ms`,
    }),
  )
}
