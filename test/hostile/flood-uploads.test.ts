import { randomBytes } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { expect, onTestFinished, test } from 'vitest'
import { PeerLimits } from '../../daemon/swarm/limits/peer-limits.ts'
import { createCertificate } from '../../daemon/swarm/transfer/certificate.ts'
import { TransferClient } from '../../daemon/swarm/transfer/client.ts'
import { transferDeadlines } from '../../daemon/swarm/transfer/constants.ts'
import { TransferServer } from '../../daemon/swarm/transfer/server.ts'
import { collect, MemoryContent, until } from '../fixtures/swarm.ts'

const uploads = 32

/** A server, and clients that it knows. */
async function scene(peers: readonly string[]) {
  const content = new MemoryContent()
  const digest = content.add(randomBytes(32 * 2 ** 20))
  const certificate = await createCertificate()
  const certificates = new Map(await Promise.all(peers.map(async (peer) => [peer, await createCertificate()] as const)))
  const server = new TransferServer({
    certificate,
    content,
    uploads,
    limits: new PeerLimits({ isOpen: true, onFlood: () => {} }),
    identify: (shown) => peers.find((peer) => certificates.get(peer)?.fingerprint === shown),
    onUpgrade: () => {},
    deadlines: transferDeadlines,
    onServed: () => {},
    log: pino({ level: 'silent' }),
  })
  const port = await server.start([{ host: '127.0.0.1', port: 0 }])
  onTestFinished(() => server.stop())
  const known = { peerId: 'server', host: '127.0.0.1', port, fingerprint: certificate.fingerprint }
  const certificateOf = (peer: string) => {
    const own = certificates.get(peer)
    if (own === undefined) throw new Error(`no ${peer}`)
    return own
  }
  return { content, digest, port, known, certificateOf }
}

/** Asks for the blob, and reads what `read` says; asks again whenever it was cut off. */
function take(
  port: number,
  { key, cert }: { readonly key: string; readonly cert: string },
  digest: string,
  read: (socket: TLSSocket) => void,
): void {
  let socket: TLSSocket
  let isOver = false
  const open = () => {
    if (isOver) return
    socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, key, cert })
    socket.on('error', () => {})
    socket.once('close', () => setTimeout(open, 50))
    socket.write(`GET /blobs/${digest} HTTP/1.1\r\nHost: layerd\r\n\r\n`)
    read(socket)
  }
  open()
  onTestFinished(() => {
    isOver = true
    socket.destroy()
  })
}

const readers: readonly [name: string, read: (socket: TLSSocket) => void][] = [
  ['nothing', (socket) => void socket.pause()],
  [
    'a little now and then',
    (socket) => {
      const timer = setInterval(() => socket.read(2 ** 16), 200)
      socket.once('close', () => clearInterval(timer))
    },
  ],
]

test.each(readers)('peers that take %s hold no place that another one needs', async (_, read) => {
  const hostile = ['a', 'b', 'c', 'd']
  const { content, digest, port, known, certificateOf } = await scene([...hostile, 'honest'])
  for (const peer of hostile) for (let place = 0; place < 8; place++) take(port, certificateOf(peer), digest, read)
  await until(() => content.opened - content.closed === uploads, 60_000)
  const client = new TransferClient({
    certificate: certificateOf('honest'),
    known: () => known,
    locate: async () => known,
    deadlines: transferDeadlines,
    onBroken: () => {},
    onUnreached: () => {},
    onHeard: () => {},
  })
  onTestFinished(() => client.stop())
  const small = content.add(randomBytes(1000))
  // At once: nobody has to come again.
  const { body } = await client.open('server', small, { start: 0 }, AbortSignal.timeout(60_000))
  expect(await collect(body)).toHaveLength(1000)
  const all = await Promise.all(
    [1, 2, 3].map(async () => await client.open('server', digest, { start: 0 }, AbortSignal.timeout(60_000))),
  )
  for (const { body: whole } of all) expect(await collect(whole)).toHaveLength(32 * 2 ** 20)
})
