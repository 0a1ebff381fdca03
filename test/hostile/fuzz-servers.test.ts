import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { PeerLimits } from '../../daemon/swarm/limits/peer-limits.ts'
import { createCertificate } from '../../daemon/swarm/transfer/certificate.ts'
import { transferDeadlines } from '../../daemon/swarm/transfer/constants.ts'
import { TransferServer } from '../../daemon/swarm/transfer/server.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode } from '../fixtures/node.ts'
import { MemoryContent, until } from '../fixtures/swarm.ts'
import { input } from '../fuzz/mutate.ts'
import { randomFrom } from '../unit/share/wire/samples.ts'

/** Requests of each server: `LAYERD_FUZZ_REQUESTS=20000` for more. */
const requests = Number(process.env.LAYERD_FUZZ_REQUESTS ?? 1_000)

/** Longest time for an answer, in ms. A request that has no end is given none, and is ended by the client. */
const patience = 300

const blob = Buffer.from('some blob of a repository')
const digest = digestOf(blob)

const corpus = [
  'GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
  `GET /v2/library/a/blobs/${digest} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-3,5-9\r\nConnection: close\r\n\r\n`,
  `HEAD /v2/library/a/manifests/latest?ns=docker.io HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nConnection: close\r\n\r\n`,
  'GET /v2/library/a/tags/list?n=5&last=b HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n',
  `GET /v2/library/a/referrers/${digest}?artifactType=a HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`,
  'POST /v2/library/a/blobs/uploads/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc',
  `GET /blobs/${digest} HTTP/1.1\r\nHost: layerd\r\nRange: bytes=5-\r\nConnection: close\r\n\r\n`,
  'GET /tags/docker.io%2Flibrary%2Fa%3Alatest HTTP/1.1\r\nHost: layerd\r\nConnection: close\r\n\r\n',
  'GET /share/control HTTP/1.1\r\nHost: layerd\r\nConnection: Upgrade\r\nUpgrade: layerd-share/1\r\n\r\n',
].map((text) => Buffer.from(text))

const words = [
  '\r\n',
  '/v2/',
  '..',
  '%2e',
  '%',
  '?ns=',
  'Range: bytes=',
  'Transfer-Encoding: chunked\r\n',
  'HTTP/1.0',
  '_catalog',
]

/** The status of each answer on a connection; none where it was closed without one. */
async function statusesOf(socket: Socket, bytes: Buffer): Promise<number[]> {
  let received = ''
  socket.on('data', (data) => {
    received += data.toString('latin1')
  })
  socket.on('error', () => {})
  socket.write(bytes)
  let timer: NodeJS.Timeout | undefined
  const begin = () => {
    timer = setTimeout(() => socket.destroy(), patience)
  }
  socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', begin)
  await once(socket, 'close')
  clearTimeout(timer)
  return [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status))
}

/** Sends inputs, some at a time and from many addresses, and gives how often each status came. @throws where one is an error of the server */
async function fuzzServer(seed: number, connect: (localAddress: string) => Socket): Promise<Map<number, number>> {
  const counts = new Map<number, number>()
  let sent = 0
  const lane = async () => {
    while (sent < requests) {
      const random = randomFrom(seed + sent++)
      const bytes = input(random, corpus, words)
      for (const status of await statusesOf(connect(`127.0.1.${1 + (sent % 200)}`), bytes)) {
        if (status >= 500) throw new Error(`${status} for ${JSON.stringify(bytes.toString('latin1'))}`)
        counts.set(status, (counts.get(status) ?? 0) + 1)
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, lane))
  return counts
}

test('the registry answers whatever comes, and never that it has failed', async () => {
  await using upstream = await FakeUpstream.start()
  upstream.addBlob(blob)
  const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
  const { hostname, port } = new URL(node.url)
  const counts = await fuzzServer(1, (localAddress) => connectTcp({ port: Number(port), host: hostname, localAddress }))
  for (const status of [400, 404]) expect(counts.get(status)).toBeGreaterThan(0)
  expect((await fetch(`${node.url}/v2/library/a/blobs/${digest}`)).status).toBe(200)
})

test('the transfer server answers whatever comes from a peer, and never that it has failed', async () => {
  const content = new MemoryContent()
  content.add(blob)
  const [certificate, peer] = [await createCertificate(), await createCertificate()]
  const server = new TransferServer({
    certificate,
    content,
    uploads: 64,
    limits: new PeerLimits({ isOpen: true, onFlood: () => {}, now: () => performance.now() * 1e6 }),
    identify: (shown) => (shown === peer.fingerprint ? 'peer' : undefined),
    onUpgrade: (_, __, { socket }) => socket.destroy(),
    deadlines: transferDeadlines,
    onServed: () => {},
    log: pino({ level: 'silent' }),
  })
  const port = await server.start([{ host: '127.0.0.1', port: 0 }])
  onTestFinished(() => server.stop())
  const { key, cert } = peer
  const connect = (localAddress: string) => {
    const socket = connectTcp({ host: '127.0.0.1', port, localAddress })
    socket.on('error', () => {})
    return connectTls({ socket, key, cert, rejectUnauthorized: false })
  }
  const counts = await fuzzServer(2, connect)
  for (const status of [400, 404]) expect(counts.get(status)).toBeGreaterThan(0)
  const right = Buffer.from(`GET /blobs/${digest} HTTP/1.1\r\nHost: layerd\r\nConnection: close\r\n\r\n`)
  expect(await statusesOf(connect('127.0.0.1'), right)).toEqual([200])
  await until(() => content.opened === content.closed)
})
