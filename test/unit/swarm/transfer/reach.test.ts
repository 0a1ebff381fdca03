import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { createSecureContext } from 'node:tls'
import { Worker } from 'node:worker_threads'
import { pino } from 'pino'
import { expect, onTestFinished, test, vi } from 'vitest'
import type { KnownPeer } from '../../../../daemon/swarm/known-peers.ts'
import { createCertificate, type TransferCertificate } from '../../../../daemon/swarm/transfer/certificate.ts'
import type { Place } from '../../../../daemon/swarm/transfer/places.ts'
import { Reach } from '../../../../daemon/swarm/transfer/reach.ts'
import { until } from '../../../fixtures/swarm.ts'

test('places of a peer that has left while they were tried are not tried again', async () => {
  const finds: AbortSignal[] = []
  const { promise: place, resolve } = Promise.withResolvers<Place>()
  const onMoved = vi.fn(() => undefined)
  const reach = new Reach({
    context: createSecureContext(),
    connectMs: 500,
    onChange: () => {},
    find: (_, signal) => {
      finds.push(signal)
      return place
    },
    onMoved,
    log: pino({ level: 'silent' }),
  })
  onTestFinished(() => reach.stop())
  // Nobody listens at port 1 of this machine.
  const announced = [{ host: '127.0.0.1', port: 1 }]
  const peer: KnownPeer = { peerId: 'peer', host: '127.0.0.1', port: 1, fingerprint: '0', announced }
  reach.met(peer)
  await until(() => finds.length === 1)
  reach.left('peer')
  expect(finds[0]?.aborted).toBe(true)
  resolve(peer)
  await vi.waitFor(() => expect(reach.isOpen('peer')).toBe(false), 30_000)
  // Longer than the pause after which it would be looked at again.
  await new Promise((done) => setTimeout(done, 3_500))
  expect([finds.length, onMoved.mock.calls]).toEqual([1, []])
})

const host = '127.0.0.1'

/** A TLS server with an event loop of its own, which goes on where this one stands still. */
async function serveElsewhere({ key, cert }: TransferCertificate) {
  const worker = new Worker(
    `const { parentPort, workerData } = require('node:worker_threads')
    const server = require('node:tls').createServer(workerData, (socket) => socket.on('error', () => {}))
    server.on('connection', (socket) => socket.once('close', () => parentPort.postMessage('closed')))
    server.on('tlsClientError', () => {}).listen(0, '${host}', () => parentPort.postMessage(server.address().port))`,
    { eval: true, workerData: { key, cert } },
  )
  onTestFinished(async () => void (await worker.terminate()))
  const [port] = await once(worker, 'message')
  /** Connections that have come and gone. */
  const ended = { port: port as number, count: 0 }
  worker.on('message', () => ended.count++)
  return ended
}

/** The reach of one peer, and what it told of it. */
function watch(connectMs: number) {
  const changes: boolean[] = []
  const reach = new Reach({
    context: createSecureContext(),
    connectMs,
    onChange: (_, isOpen) => changes.push(isOpen),
    find: async (found) => found,
    onMoved: () => undefined,
    log: pino({ level: 'silent' }),
  })
  onTestFinished(() => reach.stop())
  return { reach, changes }
}

function standStill(ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end; );
}

test('a peer counts as open while this node itself stands still', { timeout: 60_000 }, async () => {
  const certificate = await createCertificate()
  const server = await serveElsewhere(certificate)
  const { reach, changes } = watch(1_000)
  reach.met({ peerId: 'peer', host, port: server.port, fingerprint: certificate.fingerprint })
  standStill(1_200)
  await until(() => server.count === 1, 20_000)
  // TLS takes several turns: where the first attempt is late, the second one decides.
  reach.suspect('peer')
  standStill(1_200)
  await until(() => server.count >= 2, 20_000)
  await until(() => reach.isOpen('peer'), 20_000)
  expect(changes).toEqual([])
})

test('what to do is said by what has answered', { timeout: 30_000 }, async () => {
  const [its, another] = await Promise.all([createCertificate(), createCertificate()])
  const plain = createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.2p1\r\n')).listen(0, host)
  await once(plain, 'listening')
  onTestFinished(() => void plain.close())
  const problemAt = async (port: number) => {
    const { reach } = watch(2_000)
    reach.met({ peerId: 'peer', host, port, fingerprint: its.fingerprint })
    await until(() => {
      reach.suspect('peer')
      return !reach.isOpen('peer')
    })
    return reach.problemOf('peer')
  }
  for (const { port } of [await serveElsewhere(another), plain.address() as AddressInfo]) {
    expect(await problemAt(port)).toMatch(new RegExp(`answers at ${host}:${port}.*swarm\\.transferAnnounce`))
  }
  expect(await problemAt(1)).toMatch(/open TCP port 1 of 127\.0\.0\.1/)
})
