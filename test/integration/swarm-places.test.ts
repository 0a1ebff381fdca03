import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
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
  expect(await places.find({ peerId: 'peer', host, port: closed, fingerprint }, announced, signal)).toEqual({
    host,
    port: right,
  })
  const others = [wrong, closed].map((port) => ({ host, port }))
  expect(await places.find({ peerId: 'peer', host, port: right, fingerprint }, others, signal)).toEqual({
    host,
    port: right,
  })
})

it('stays with where the connection comes from where none does, or where nothing is announced', async () => {
  const [own, its, another] = await Promise.all([createCertificate(), createCertificate(), createCertificate()])
  const places = new Places(own, transferDeadlines.connect)
  const [wrong, closed] = [await serve(another), await closedPort()]
  const peer = { peerId: 'peer', host, port: closed, fingerprint: its.fingerprint }
  expect(await places.find(peer, [{ host, port: wrong }], signal)).toBe(peer)
  expect(await places.find(peer, [], signal)).toBe(peer)
  expect(await places.find(peer, [{ host, port: wrong }], AbortSignal.abort())).toBe(peer)
})
