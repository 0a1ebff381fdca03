import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { nearestPeers } from '../../../daemon/swarm/find/nearest.ts'
import { hashOf, multihashOf } from '../../../daemon/swarm/router/cid.ts'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { describeMachine, machineText } from '../machine.ts'
import { quantile } from '../measure.ts'
import type { Reply, Request, Started, Taken, Usage } from './messages.ts'

const USAGE = `npm run bench:large -- [options]
How a swarm that is larger than its nodes' connections does: real nodes in a few processes, without bulk. Each node has an address of
its own (127.1.x.y), where it listens and from where it connects, so all limits by address hold as they do for nodes on machines of
their own. A node takes part once it has joined.
  --nodes N          size of a swarm; repeatable, 50 and 200 by default
  --connections N    connections of each node at most, 40 by default
  --seconds N        how long it is measured, 120 by default
  --processes N      processes that the nodes are in, 4 by default
  --churn PERCENT    nodes that go, and as many that come, in a minute, 10 by default`

/** What each node does in a minute. */
const ANNOUNCED = 2
const FINDS = 4
const CLAIMS = 4

/** Nodes that claim one blob, to see whether they ask the same coordinator. */
const CLAIMANTS = 4

/** Between an announcement and the lookups for it, in ms. */
const SETTLE_MS = 1_000

/** After the last node has joined, until it is measured, in ms: nodes look for neighbours more often at first. */
const WARM_MS = 60_000

/** Nodes that join at a time. With more, a machine of 2 cores is so busy with handshakes that they run into their deadlines. */
const PARALLEL = 3

/** A node has joined once it has this many peers, or all. */
const JOINED_WITH = 8

/** Addresses of nodes in one network of 127.0.0.0/8. */
const HOSTS = 250

const SEEDS = 3

interface Member extends Started {
  readonly child: Child
}

/** A process of nodes. */
class Child implements AsyncDisposable {
  readonly #process: ChildProcess = fork(fileURLToPath(new URL('child.ts', import.meta.url)))
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>()
  #lastId = 0

  constructor() {
    this.#process.on('message', ({ id, value, error }: Reply) => {
      if (error === undefined) this.#waiting.get(id)?.resolve(value)
      else this.#waiting.get(id)?.reject(new Error(error))
      this.#waiting.delete(id)
    })
    process.on('exit', () => this.#process.kill('SIGKILL'))
  }

  async ask<T>(request: Request): Promise<T> {
    const waiting = Promise.withResolvers<unknown>()
    const id = ++this.#lastId
    this.#waiting.set(id, waiting)
    this.#process.send({ id, request })
    return (await waiting.promise) as T
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.disconnect()
    await once(this.#process, 'exit')
  }
}

interface Settings {
  readonly maxConnections: number
  readonly seconds: number
  readonly processes: number
  /** Part of the nodes, in a minute. */
  readonly churn: number
}

interface Figures {
  readonly nodes: number
  readonly finds: readonly (number | undefined)[]
  readonly claims: readonly (number | undefined)[]
  /** Of all blobs, the part for which all who claimed it at once asked the same node; and of all claims, that asked the nearest one. */
  readonly sameCoordinator: number
  readonly rightCoordinator: number
  /** Of each node, in a minute. */
  readonly cpuMs: number
  readonly messages: number
  readonly made: number
  /** Parts of the machine's CPU time that the nodes took, and everything together. */
  readonly ownShare: number
  readonly busyShare: number
  readonly peers: { readonly mean: number; readonly least: number; readonly most: number }
  readonly memoryMB: number
}

const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T

/** CPU time of the machine so far, in ms. */
function machineTime(): { readonly busy: number; readonly all: number } {
  const times = cpus().map(({ times }) => times)
  const all = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0)
  return { all, busy: all - times.reduce((sum, { idle }) => sum + idle, 0) }
}

async function measure(count: number, settings: Settings): Promise<Figures> {
  const { maxConnections, seconds, processes, churn } = settings
  await using scope = new AsyncDisposableStack()
  const children = Array.from({ length: processes }, () => scope.use(new Child()))
  const members: Member[] = []
  let started = 0
  const startOne = async () => {
    const number = started++
    const child = children[number % processes] as Child
    const host = `127.1.${Math.floor(number / HOSTS)}.${1 + (number % HOSTS)}`
    const seeds = members.slice(0, SEEDS).map(({ address }) => address)
    const joinedWith = Math.min(members.length, JOINED_WITH)
    const node = await child.ask<Started>({ kind: 'start', host, seeds, maxConnections, joinedWith })
    members.push({ ...node, child })
  }
  await startOne()
  const startAll = async () => {
    while (started < count) await startOne()
  }
  await Promise.all(Array.from({ length: PARALLEL }, startAll))
  console.error(`${count} nodes have joined`)
  await sleep(WARM_MS)

  const usages = async () => await Promise.all(children.map((child) => child.ask<Usage>({ kind: 'usage' })))
  const finds: (number | undefined)[] = []
  const claims: (number | undefined)[] = []
  let same = 0
  let asked = 0
  let right = 0
  let blobs = 0
  const running = new Set<Promise<void>>()
  const inBackground = (work: () => Promise<void>) => {
    const done: Promise<void> = work()
      // A node that was stopped meanwhile.
      .catch(() => {})
      .finally(() => running.delete(done))
    running.add(done)
  }
  const lookUp = async () => {
    const holder = any(members)
    const digest = await holder.child.ask<Digest>({ kind: 'announce', node: holder.node })
    await sleep(SETTLE_MS)
    const ofHolder = async () => {
      const { child, node } = any(members.filter((member) => member !== holder))
      const { ms } = await child.ask<Taken>({ kind: 'find', node, digest, holder: holder.node })
      if (members.includes(holder)) finds.push(ms)
    }
    await Promise.all(Array.from({ length: FINDS / ANNOUNCED }, ofHolder))
  }
  const claimOne = async () => {
    const digest = `sha256:${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}` as Digest
    const claimants = Array.from({ length: CLAIMANTS }, () => any(members))
    const before = members.map(({ node }) => node)
    const answers = await Promise.all(
      claimants.map(({ child, node }) => child.ask<Taken>({ kind: 'claim', node, digest })),
    )
    const nearest = [before, members.map(({ node }) => node)].map(
      (all) => nearestPeers(all, multihashOf(hashOf(digest)), 1)[0],
    )
    blobs++
    if (new Set(answers.map(({ coordinator }) => coordinator)).size === 1) same++
    asked += answers.length
    right += answers.filter(({ coordinator }) => nearest.includes(coordinator)).length
    claims.push(...answers.map(({ ms }) => ms))
  }
  const replaceOne = async () => {
    const seeds = members.slice(0, SEEDS)
    const leaver = any(members.filter((member) => !seeds.includes(member)))
    members.splice(members.indexOf(leaver), 1)
    await Promise.all([leaver.child.ask({ kind: 'stop', node: leaver.node }), startOne()])
  }
  const perMinute: readonly [number, () => Promise<void>][] = [
    [ANNOUNCED * count, lookUp],
    [(CLAIMS / CLAIMANTS) * count, claimOne],
    [churn * count, replaceOne],
  ]

  const before = await usages()
  const timeBefore = machineTime()
  const begun = performance.now()
  const end = begun + seconds * 1_000
  const loops = perMinute.map(async ([rate, work]) => {
    if (rate === 0) return
    for (let at = begun + 60_000 / rate; at < end; at += 60_000 / rate) {
      await sleep(Math.max(0, at - performance.now()))
      inBackground(work)
    }
  })
  await Promise.all([...loops, sleep(seconds * 1_000)])
  await Promise.all(running)
  const after = await usages()
  const timeAfter = machineTime()
  const machineMs = timeAfter.all - timeBefore.all
  const minutes = (performance.now() - begun) / 60_000
  const peers = after.flatMap((usage) => usage.peers)
  if (after.some(({ strays }) => strays > 0)) throw new Error('connections have come from no address of a node')
  const total = (of: (usage: Usage) => number) =>
    after.reduce((sum, usage, index) => sum + of(usage) - of(before[index] as Usage), 0) / minutes / count
  return {
    nodes: count,
    finds,
    claims,
    sameCoordinator: same / blobs,
    rightCoordinator: right / asked,
    cpuMs: total(({ cpuMs }) => cpuMs),
    messages: total(({ writes }) => writes),
    made: total(({ made }) => made),
    ownShare: (total(({ cpuMs }) => cpuMs) * minutes * count) / machineMs,
    busyShare: (timeAfter.busy - timeBefore.busy) / machineMs,
    peers: {
      mean: peers.reduce((sum, one) => sum + one, 0) / peers.length,
      least: Math.min(...peers),
      most: Math.max(...peers, ...before.flatMap((usage) => usage.peers)),
    },
    memoryMB: after.reduce((sum, { memory }) => sum + memory, 0) / 1e6 / count,
  }
}

function textOf(figures: Figures): string {
  const { nodes, finds, claims, sameCoordinator, rightCoordinator, cpuMs, messages, made, peers, memoryMB } = figures
  const percent = (share: number) => `${(100 * share).toFixed(1)} %`
  const times = (values: readonly (number | undefined)[]) => {
    const failed = values.filter((value) => value === undefined).length
    const [p50, p95] = [0.5, 0.95].map((share) =>
      quantile(
        values.map((value) => value ?? Number.POSITIVE_INFINITY),
        share,
      ),
    )
    return `p50 ${p50?.toFixed(0)} ms, p95 ${p95?.toFixed(0)} ms, ${failed} of ${values.length} not within 5 s`
  }
  return [
    `${nodes} nodes`,
    `  a blob is found:          ${times(finds)}`,
    `  a claim is answered:      ${times(claims)}`,
    `  same coordinator:         ${percent(sameCoordinator)} of blobs; the nearest node: ${percent(rightCoordinator)} of claims`,
    `  of each node in a minute: ${cpuMs.toFixed(0)} ms of CPU, ${messages.toFixed(0)} writes to sockets, ${made.toFixed(1)} connections made`,
    `  CPU of the machine:       ${percent(figures.ownShare)} by the nodes, ${percent(figures.busyShare)} by everything`,
    `  peers of a node:          ${peers.mean.toFixed(1)} on average, ${peers.least} to ${peers.most}`,
    `  memory of a node:         ${memoryMB.toFixed(0)} MB`,
  ].join('\n')
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      nodes: { type: 'string', multiple: true, default: ['50', '200'] },
      connections: { type: 'string', default: '40' },
      seconds: { type: 'string', default: '120' },
      processes: { type: 'string', default: '4' },
      churn: { type: 'string', default: '10' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    return
  }
  const settings: Settings = {
    maxConnections: Number(values.connections),
    seconds: Number(values.seconds),
    processes: Number(values.processes),
    churn: Number(values.churn) / 100,
  }
  console.log(machineText(await describeMachine()))
  console.log(
    `At most ${values.connections} connections of each node; in a minute each announces ${ANNOUNCED} blobs, looks for ${FINDS}, ` +
      `and claims ${CLAIMS}; ${values.churn} % of the nodes go, and as many come.\n`,
  )
  const all: Figures[] = []
  for (const nodes of values.nodes) {
    const figures = await measure(Number(nodes), settings)
    all.push(figures)
    console.log(`${textOf(figures)}\n`)
  }
  const [first, last] = [all[0], all.at(-1)]
  if (first === undefined || last === undefined || first === last) return
  const growth = (of: (figures: Figures) => number) => `${(100 * (of(last) / of(first) - 1)).toFixed(0)} %`
  console.log(
    `From ${first.nodes} to ${last.nodes} nodes: CPU ${growth(({ cpuMs }) => cpuMs)}, messages ${growth(({ messages }) => messages)}`,
  )
}

await main()
