import { randomBytes } from 'node:crypto'
import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ShareListener } from '../../../daemon/swarm/ports.ts'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { type TestNode, TestSwarm, transferPeers, until } from '../../fixtures/swarm.ts'
import { at, connections } from './hosts.ts'
import type { Reply, Request, Started, Taken, Usage } from './messages.ts'

/* A process with many light nodes: real libp2p, transfer server and records, and no bulk. */

/** A find or a claim that takes longer has failed, in ms. */
const DEADLINE_MS = 5_000

/** A node that has not joined by then takes part all the same, in ms. */
const JOIN_MS = 60_000

/** Between lookups that did not find the holder, in ms. */
const RETRY_MS = 20

let writes = 0
const { _write, _writev } = Socket.prototype as unknown as Record<string, (...args: unknown[]) => unknown>
Object.assign(Socket.prototype, {
  _write(this: Socket, ...args: unknown[]) {
    writes++
    return _write?.apply(this, args)
  },
  _writev(this: Socket, ...args: unknown[]) {
    writes++
    return _writev?.apply(this, args)
  },
})

const swarm = new TestSwarm()
const nodes = new Map<string, TestNode>()
/** By PeerId. */
const hostOf = new Map<string, string>()
/** Claims that wait for the coordinator's answer. */
const claims = new Map<number, () => void>()
let lastClaim = 0

async function start(request: Extract<Request, { kind: 'start' }>): Promise<Started> {
  const { host, seeds, maxConnections, joinedWith } = request
  let id = ''
  const listener: ShareListener = {
    message: () => {},
    part: async () => {},
    moved: () => {},
    gone: () => {},
    // A coordinator answers whoever asks.
    claim: (peer, message) => {
      const { ask, answer } = message as { ask?: number; answer?: number }
      if (ask !== undefined)
        nodes
          .get(id)
          ?.swarm.coordination.tell(peer, { answer: ask })
          .catch(() => {})
      if (answer !== undefined) claims.get(answer)?.()
    },
    joined: () => {},
    left: () => {},
  }
  const listen = `${host}:0`
  const config = { seeds: [...seeds], maxConnections, listen, transferListen: listen }
  const node = await swarm.node({ listener, config })
  id = node.peerId()
  nodes.set(id, node)
  hostOf.set(id, host)
  await until(() => transferPeers(node) >= joinedWith, JOIN_MS).catch(() => {})
  const [address = ''] = node.status().multiaddrs
  return { node: id, address: address.replace(/\/p2p\/.*/, '') }
}

function nodeOf(id: string): TestNode {
  const node = nodes.get(id)
  if (node === undefined) throw new Error(`${id} is not here`)
  return node
}

async function find(node: TestNode, digest: Digest, holder: string): Promise<Taken> {
  const started = performance.now()
  const signal = AbortSignal.timeout(DEADLINE_MS)
  while (!signal.aborted) {
    for await (const peer of node.swarm.providers(digest, signal))
      if (peer === holder) return { ms: performance.now() - started }
    await sleep(RETRY_MS)
  }
  return { ms: undefined }
}

async function claim({ swarm: { coordination, self } }: TestNode, digest: Digest): Promise<Taken> {
  const started = performance.now()
  const [coordinator = ''] = await coordination.coordinators(digest)
  if (coordinator === self) return { ms: performance.now() - started, coordinator }
  const ask = process.pid * 1_000_000 + lastClaim++
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), DEADLINE_MS)
  claims.set(ask, () => resolve(true))
  await coordination.tell(coordinator, { ask }).catch(() => resolve(false))
  const isAnswered = await promise
  clearTimeout(timer)
  claims.delete(ask)
  return { ms: isAnswered ? performance.now() - started : undefined, coordinator }
}

async function answer(request: Request): Promise<unknown> {
  switch (request.kind) {
    case 'start':
      return await start(request)
    case 'stop': {
      const node = nodeOf(request.node)
      nodes.delete(request.node)
      hostOf.delete(request.node)
      await node.stop()
      return
    }
    case 'announce': {
      const node = nodeOf(request.node)
      const digest = node.content.add(randomBytes(16))
      node.swarm.advertise(digest, true)
      return digest
    }
    case 'find':
      return await find(nodeOf(request.node), request.digest, request.holder)
    case 'claim':
      return await claim(nodeOf(request.node), request.digest)
    case 'usage': {
      const { user, system } = process.cpuUsage()
      const usage: Usage = {
        cpuMs: (user + system) / 1_000,
        writes,
        ...connections(),
        peers: [...nodes.values()].map((node) => node.status().peers.length),
        memory: process.memoryUsage.rss(),
      }
      return usage
    }
  }
}

process.on('message', ({ id, request }: { id: number; request: Request }) => {
  const reply = (rest: Omit<Reply, 'id'>) => process.send?.({ id, ...rest } satisfies Reply)
  const host = 'host' in request ? request.host : 'node' in request ? hostOf.get(request.node) : undefined
  at(host, () => answer(request)).then(
    (value) => reply({ value }),
    (error) => reply({ error: String(error) }),
  )
})
process.on('disconnect', () => {
  swarm.close().finally(() => process.exit())
})
