import { once } from 'node:events'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { createServer } from 'node:tls'
import { expect, it, onTestFinished } from 'vitest'
import { createCertificate, type TransferCertificate } from '../../daemon/swarm/transfer/certificate.ts'
import { transferDeadlines } from '../../daemon/swarm/transfer/constants.ts'
import { Places } from '../../daemon/swarm/transfer/places.ts'

const host = '127.0.0.1'
const signal = new AbortController().signal

/** A server with a certificate; gives its port. */
async function serve({ key, cert }: TransferCertificate): Promise<number> {
  const server = createServer({ key, cert, requestCert: true, rejectUnauthorized: false })
  server.on('tlsClientError', () => {}).on('secureConnection', (socket) => socket.on('error', () => {}))
  server.listen(0, host)
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

it('takes the place that shows the certificate of the peer', async () => {
  const [own, its, another] = await Promise.all([createCertificate(), createCertificate(), createCertificate()])
  const places = new Places(own, transferDeadlines.connect)
  const [right, wrong, closed] = [await serve(its), await serve(another), await closedPort()]
  const { fingerprint } = its
  const announced = [wrong, closed, right].map((port) => ({ host, port }))
  expect(await places.find({ peerId: 'peer', host, port: closed, fingerprint, announced }, signal)).toEqual({
    host,
    port: right,
  })
  const others = [wrong, closed].map((port) => ({ host, port }))
  expect(
    await places.find({ peerId: 'peer', host, port: right, fingerprint, announced: others }, signal),
  ).toMatchObject({
    host,
    port: right,
  })
})

it('stays with where the connection comes from where none does, or where nothing is announced', async () => {
  const [own, its, another] = await Promise.all([createCertificate(), createCertificate(), createCertificate()])
  const places = new Places(own, transferDeadlines.connect)
  const [wrong, closed] = [await serve(another), await closedPort()]
  const peer = { peerId: 'peer', host, port: closed, fingerprint: its.fingerprint }
  const announcing = { ...peer, announced: [{ host, port: wrong }] }
  expect(await places.find(announcing, signal)).toBe(announcing)
  expect(await places.find(peer, signal)).toBe(peer)
  expect(await places.find(announcing, AbortSignal.abort())).toBe(announcing)
  // Where it was found before does not matter.
  const source = { host, port: closed }
  expect(await places.find({ ...announcing, port: wrong, source }, signal)).toBe(source)
})

/** A server that counts who connects, and says nothing. */
async function countingServer() {
  const count = { port: 0, connections: 0 }
  const server = createTcpServer((socket) => {
    count.connections++
    socket.on('error', () => {}).resume()
  })
  server.listen(0, host)
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  count.port = (server.address() as AddressInfo).port
  return count
}

it('searches for one peer once at a time, and no more often than a few times a minute', async () => {
  const [own, its] = await Promise.all([createCertificate(), createCertificate()])
  const places = new Places(own, 200)
  const [victim, closed] = [await countingServer(), await closedPort()]
  const peer = { peerId: 'peer', host, port: closed, fingerprint: its.fingerprint }
  const announced = [{ host, port: victim.port }]
  await Promise.all(Array.from({ length: 3 }, () => places.find({ ...peer, announced }, signal)))
  expect(victim.connections).toBeLessThanOrEqual(3)
  for (let hello = 0; hello < 30; hello++) await places.find({ ...peer, announced }, signal)
  expect(victim.connections).toBeLessThanOrEqual(8)
  // Others are searched for as before.
  const port = await serve(its)
  expect(await places.find({ ...peer, peerId: 'another', announced: [{ host, port }] }, signal)).toEqual({ host, port })
})

it('connects to a host that many peers name a few times only', async () => {
  const [own, its] = await Promise.all([createCertificate(), createCertificate()])
  const places = new Places(own, 200)
  const victims = await Promise.all(Array.from({ length: 8 }, countingServer))
  const closed = await closedPort()
  const announced = victims.map(({ port }) => ({ host, port }))
  for (let peer = 0; peer < 12; peer++)
    await places.find({ peerId: `peer ${peer}`, host, port: closed, fingerprint: its.fingerprint, announced }, signal)
  const connections = victims.reduce((sum, one) => sum + one.connections, 0)
  // Those that were allowed at once, and what was earned since.
  expect(connections).toBeGreaterThanOrEqual(16)
  expect(connections).toBeLessThan(64)
})

it('one search is enough for two connections that a peer makes at the same time', async () => {
  const [own, its] = await Promise.all([createCertificate(), createCertificate()])
  const places = new Places(own, transferDeadlines.connect)
  const [right, closed] = [await serve(its), await closedPort()]
  const announced = [{ host, port: right }]
  const peer = { peerId: 'peer', host, port: closed, fingerprint: its.fingerprint, announced }
  const found = Array.from({ length: 20 }, () => places.find({ ...peer }, signal))
  for (const place of await Promise.all(found)) expect(place).toEqual({ host, port: right })
})
