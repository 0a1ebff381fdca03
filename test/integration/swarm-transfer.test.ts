import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { type AddressInfo, connect as tcpConnect } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { afterEach, describe, expect, test } from 'vitest'
import type { KnownPeer } from '../../daemon/swarm/known-peers.ts'
import { PeerLimits } from '../../daemon/swarm/limits/peer-limits.ts'
import { createCertificate, type TransferCertificate } from '../../daemon/swarm/transfer/certificate.ts'
import { TransferClient } from '../../daemon/swarm/transfer/client.ts'
import { MAX_HANDSHAKES, PEER_SHARE } from '../../daemon/swarm/transfer/constants.ts'
import { TransferServer } from '../../daemon/swarm/transfer/server.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { collect, MemoryContent, until } from '../fixtures/swarm.ts'

const log = pino({ level: 'silent' })
const deadlines = { connect: 2_000, headers: 2_000, idle: 1_000, taking: 1_000 }
const signal = () => AbortSignal.timeout(60_000)

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const onUpgrade = () => {}

/** The real server, which admits one client certificate. */
async function startServer(content: MemoryContent) {
  const certificate = await createCertificate()
  const client = await createCertificate()
  let admitted = true
  const identify = (fingerprint: string) => (admitted && fingerprint === client.fingerprint ? 'client' : undefined)
  const server = new TransferServer({
    limits: new PeerLimits({ isOpen: true, onFlood: () => {} }),
    certificate,
    content,
    identify,
    onUpgrade,
    // Two for each peer.
    uploads: 2 * PEER_SHARE,
    deadlines,
    onServed: () => {},
    log,
  })
  const port = await server.start([{ host: '127.0.0.1', port: 0 }])
  cleanups.push(() => server.stop())
  const peer: KnownPeer = { peerId: 'peer', host: '127.0.0.1', port, fingerprint: certificate.fingerprint }
  return { server, port, peer, client, refuse: () => (admitted = false) }
}

async function startClient(
  peer: KnownPeer,
  own?: TransferCertificate,
  onUnreached = (_: string) => {},
  onHeard = (_: string) => {},
): Promise<TransferClient> {
  const certificate = own ?? (await createCertificate())
  const client = new TransferClient({
    certificate,
    known: () => peer,
    locate: async () => peer,
    deadlines,
    onBroken: () => {},
    onUnreached,
    onHeard,
  })
  cleanups.push(() => client.stop())
  return client
}

/** A server of a peer that misbehaves. */
async function startRogue(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<KnownPeer> {
  const { key, cert, fingerprint } = await createCertificate()
  const server: Server = createServer({ key, cert }, answer).listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  return { peerId: 'peer', host: '127.0.0.1', port: (server.address() as AddressInfo).port, fingerprint }
}

/** Sends raw bytes over TLS, and gives everything that comes back until the server closes. */
async function exchange(port: number, text: string, certificate?: { key: string; cert: string }): Promise<string> {
  const socket: TLSSocket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...certificate })
  let received = ''
  socket.on('data', (data) => (received += data.toString('latin1')))
  socket.on('error', () => {})
  socket.write(text)
  await once(socket, 'close')
  return received
}

const get = (path: string, extra = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${extra}\r\n`

describe('the server', () => {
  test('gives a stranger nothing, with or without a certificate', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(100))
    const { port, client } = await startServer(content)
    expect(await exchange(port, get(`/blobs/${digest}`))).toBe('')
    expect(await exchange(port, get(`/blobs/${digest}`), await createCertificate())).toBe('')
    expect(content.opened).toBe(0)
    expect(await exchange(port, get(`/blobs/${digest}`), client)).toMatch(/^HTTP\/1.1 200 /)
  })

  test('refuses a peer whose connection is still open as soon as it is no longer admitted', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(100))
    const { peer, client, refuse } = await startServer(content)
    const transfers = await startClient(peer, client)
    expect(await transfers.stat('peer', digest, signal())).toMatchObject({ size: 100 })
    refuse()
    await expect(transfers.stat('peer', digest, signal())).rejects.toMatchObject({ code: 'failed' })
  })

  test('speaks TLS 1.3 only', async () => {
    const { port, client } = await startServer(new MemoryContent())
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, maxVersion: 'TLSv1.2', ...client })
    await expect(once(socket, 'secureConnect')).rejects.toThrow()
  })

  test.each([
    ['a range', 'Range: bytes=10-19', 206, { 'content-range': 'bytes 10-19/100', 'content-length': '10' }],
    ['an open range', 'Range: bytes=90-', 206, { 'content-range': 'bytes 90-99/100', 'content-length': '10' }],
    ['the last bytes', 'Range: bytes=-5', 206, { 'content-range': 'bytes 95-99/100' }],
    ['a range beyond the end', 'Range: bytes=100-', 416, { 'content-range': 'bytes */100', 'content-length': '0' }],
    ['several ranges', 'Range: bytes=0-1,5-6', 200, { 'content-length': '100' }],
    ['no range', 'Accept: */*', 200, { 'accept-ranges': 'bytes', 'layerd-access': 'public' }],
  ])('answers a request for %s', async (_, header, status, headers) => {
    const content = new MemoryContent()
    const bytes = Buffer.alloc(100, 'x')
    const { port, client } = await startServer(content)
    const answer = parse(await exchange(port, get(`/blobs/${content.add(bytes)}`, `${header}\r\n`), client))
    expect(answer).toMatchObject({ status, headers })
    expect(answer.body).toHaveLength(Number(answer.headers['content-length']))
  })

  test.each([
    ['another method', 'DELETE /blobs/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 405],
    ['a malformed digest', get('/blobs/sha256:00'), 404],
    ['a path out of the tree', get('/blobs/../../etc/passwd'), 404],
    ['a tag that is none', get('/tags/registry.example%2Fapp'), 404],
    ['broken percent-encoding', get('/tags/%E0%A4%A'), 404],
    ['another path', get('/'), 404],
    ['a long path', get(`/tags/${'a'.repeat(3000)}`), 404],
    ['long headers', get('/', `X: ${'a'.repeat(8000)}\r\n`), 431],
    ['no HTTP at all', '\u0000\u0001\r\n\r\n', 400],
  ])('answers %s with its status', async (_, request, status) => {
    const { port, client } = await startServer(new MemoryContent())
    expect(parse(await exchange(port, request, client)).status).toBe(status)
  })

  test('answers 503 with Retry-After when all uploads are taken', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(100))
    const gate = Promise.withResolvers<void>()
    content.gate = gate.promise
    const { port, peer, client } = await startServer(content)
    const transfers = await startClient(peer, client)
    const running = [1, 2].map(() => transfers.open('peer', digest, { start: 0 }, signal()))
    await until(() => content.opened === 2)
    expect(parse(await exchange(port, get(`/blobs/${digest}`), client))).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
    })
    gate.resolve()
    for (const transfer of running) expect(await collect((await transfer).body)).toHaveLength(100)
  })

  test('lets go of a reader that takes nothing', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(50_000_000))
    const { port, client } = await startServer(content)
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...client })
    socket.on('error', () => {})
    socket.pause()
    socket.write(get(`/blobs/${digest}`))
    await until(() => content.opened === 1)
    await until(() => content.closed === 1)
    socket.destroy()
  })

  test('keeps places for others where strangers say nothing', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(100))
    const { port, client } = await startServer(content)
    const silent = Array.from({ length: MAX_HANDSHAKES + 1 }, () =>
      tcpConnect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' }).on('error', () => {}),
    )
    cleanups.push(() => silent.forEach((socket) => void socket.destroy()))
    // One of them is one too many.
    await Promise.race(silent.map((socket) => once(socket, 'close')))
    expect(parse(await exchange(port, get(`/blobs/${digest}`), client))).toMatchObject({ status: 200 })
  })

  test('ends a connection that asks on and on before it has the answers', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(100))
    const gate = Promise.withResolvers<void>()
    content.gate = gate.promise
    const { port, client } = await startServer(content)
    const request = `GET /blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`
    const answer = exchange(port, request.repeat(100), client)
    expect(await answer.catch(() => '')).toBe('')
    gate.resolve()
    await until(() => content.opened === content.closed)
  })

  test('cuts the body short where the content fails', async () => {
    const content = new MemoryContent()
    const digest = content.add(randomBytes(200_000))
    const { peer, client } = await startServer(content)
    content.gate = Promise.reject(new Error('disk'))
    content.gate.catch(() => {})
    const read = async () =>
      await collect((await (await startClient(peer, client)).open('peer', digest, { start: 0 }, signal())).body)
    await expect(read()).rejects.toMatchObject({ code: 'failed' })
    expect(content.closed).toBe(1)
  })

  test('names the option when its port is taken', async () => {
    const content = new MemoryContent()
    const { port } = await startServer(content)
    const certificate = await createCertificate()
    const identify = () => undefined
    const second = new TransferServer({
      limits: new PeerLimits({ isOpen: true, onFlood: () => {} }),
      certificate,
      content,
      identify,
      onUpgrade,
      uploads: 1,
      deadlines,
      onServed: () => {},
      log,
    })
    await expect(second.start([{ host: '127.0.0.1', port }])).rejects.toThrow(
      /^swarm\.transferListen: .*another program listens on port .*--transfer-listen/,
    )
    await second.stop()
  })
})

describe('the client', () => {
  test('knows how many requests are under way, those too that wait for an answer or are not read', async () => {
    const peer = await startRogue((request, response) => {
      if (request.url?.endsWith(digestOf(Buffer.from('sent'))) === true)
        response.writeHead(200, { 'content-length': 9 }).write('some')
    })
    const client = await startClient(peer)
    const abort = new AbortController()
    const silent = client.open('peer', digestOf(Buffer.from('silent')), { start: 0 }, abort.signal)
    silent.catch(() => {})
    await client.open('peer', digestOf(Buffer.from('sent')), { start: 0 }, abort.signal)
    expect(client.requests).toBe(2)
    abort.abort()
    await expect(silent).rejects.toMatchObject({ code: 'aborted' })
    await until(() => client.requests === 0)
  })

  const bytes = Buffer.alloc(100, 'x')
  const digest = digestOf(bytes)

  test('sends nothing to a server with another certificate than the peer told', async () => {
    let asked = 0
    const peer = await startRogue((_, response) => {
      asked++
      response.end()
    })
    const client = await startClient({ ...peer, fingerprint: (await createCertificate()).fingerprint })
    await expect(client.open('peer', digest, { start: 0 }, signal())).rejects.toMatchObject({ code: 'failed' })
    expect(asked).toBe(0)
  })

  test.each<[string, number, number, IncomingHttpHeaders | undefined, string]>([
    ['no length', 0, 200, {}, 'failed'],
    ['the whole where a part was asked for', 10, 200, { 'content-length': '100' }, 'failed'],
    ['another part', 10, 206, { 'content-length': '90', 'content-range': 'bytes 0-89/100' }, 'failed'],
    ['a part that ends early', 10, 206, { 'content-length': '10', 'content-range': 'bytes 10-19/100' }, 'failed'],
    ['a part without its size', 10, 206, { 'content-length': '90', 'content-range': 'bytes 10-99/*' }, 'failed'],
    ['a redirect', 0, 302, { location: 'https://elsewhere.example/' }, 'failed'],
    ['an error', 0, 500, {}, 'failed'],
    ['an endless error', 0, 404, undefined, 'absent'],
    ['a busy sign', 0, 503, { 'content-length': '0' }, 'busy'],
  ])('does not take %s', async (_, offset, status, headers, code) => {
    const peer = await startRogue((_, response) => {
      response.writeHead(status, headers)
      if (headers !== undefined) response.end()
      else response.write('x'.repeat(1000))
    })
    await expect((await startClient(peer)).open('peer', digest, { start: offset }, signal())).rejects.toMatchObject({
      code,
    })
  })

  test.each<[string, (response: ServerResponse) => void]>([
    ['ends early', (response) => void response.write('x', () => response.destroy())],
    ['stalls in the body', (response) => void response.write('x'.repeat(50))],
    ['stalls before the body', (response) => response.flushHeaders()],
  ])('gives up on a peer that %s', async (_, answer) => {
    const peer = await startRogue((_, response) => {
      response.writeHead(200, { 'content-length': 100 })
      answer(response)
    })
    const { body } = await (await startClient(peer)).open('peer', digest, { start: 0 }, signal())
    await expect(collect(body)).rejects.toMatchObject({ code: 'failed', peer: 'peer' })
  })

  test('gives up on a peer that does not answer, or accepts no connection', async () => {
    const silent = await startRogue(() => {})
    await expect((await startClient(silent)).open('peer', digest, { start: 0 }, signal())).rejects.toMatchObject({
      code: 'failed',
    })
    const gone = { ...silent, port: 1 }
    await expect((await startClient(gone)).open('peer', digest, { start: 0 }, signal())).rejects.toMatchObject({
      code: 'failed',
    })
  })

  test('does not count the time that its reader takes', async () => {
    const peer = await startRogue((_, response) => {
      response.writeHead(200, { 'content-length': 2_000_000 })
      response.end(Buffer.alloc(2_000_000))
    })
    const { body } = await (await startClient(peer)).open('peer', digest, { start: 0 }, signal())
    let received = 0
    for await (const chunk of body) {
      // longer than the deadline: the time itself is what is tested
      if (received === 0) await new Promise((resolve) => setTimeout(resolve, deadlines.idle * 1.5))
      received += chunk.length
    }
    expect(received).toBe(2_000_000)
  })

  test('asks once more where a kept connection was closed meanwhile', async () => {
    let connections = 0
    const peer = await startRogue((request, response) => {
      if (request.socket.listenerCount('test') === 0) connections++
      else if (connections === 1) return void request.socket.destroy()
      request.socket.on('test', () => {})
      response.writeHead(200, { 'content-length': 0 })
      response.end()
    })
    const client = await startClient(peer)
    await collect((await client.open('peer', digest, { start: 0 }, signal())).body)
    await collect((await client.open('peer', digest, { start: 0 }, signal())).body)
    expect(connections).toBe(2)
  })

  test.each([
    ['malformed', '{"digest":'],
    ['not a digest', JSON.stringify({ digest: 'sha256:00', ageMs: 1 })],
    ['too long', JSON.stringify({ digest, ageMs: 1, padding: 'x'.repeat(2000) })],
  ])('does not take a tag answer that is %s', async (_, answer) => {
    const peer = await startRogue((_, response) => {
      response.writeHead(200, { 'content-length': answer.length })
      response.end(answer)
    })
    await expect((await startClient(peer)).tag('peer', 'r.example/a:b', signal())).rejects.toMatchObject({
      code: 'failed',
    })
  })
})

function parse(text: string): { status: number; headers: Record<string, string>; body: string } {
  const [head = '', body = ''] = text.split('\r\n\r\n')
  const [line = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(lines.map((field) => field.toLowerCase().split(': ', 2)))
  return { status: Number(line.split(' ')[1]), headers, body }
}

test('the client tells of all that comes', async () => {
  const content = new MemoryContent()
  const digest = content.add(randomBytes(100))
  const { peer, client: certificate } = await startServer(content)
  const heard: string[] = []
  const client = await startClient(peer, certificate, undefined, (one) => heard.push(one))
  await client.stat('peer', digest, signal())
  expect(heard).toEqual(['peer'])
  await collect((await client.open('peer', digest, { start: 0 }, signal())).body)
  expect(heard.length).toBeGreaterThanOrEqual(3)
})

describe('a failure of the client', () => {
  const unreachedBy = async (peer: KnownPeer, ask: (client: TransferClient) => Promise<unknown>) => {
    const unreached: string[] = []
    const client = await startClient(peer, undefined, (one) => unreached.push(one))
    await ask(client).catch(() => {})
    return unreached
  }
  const digest = digestOf(randomBytes(1))

  test('is told where nothing listens, where somebody else does, and where the peer says nothing', async () => {
    const peer = await startRogue(() => {})
    const stat = (client: TransferClient) => client.stat('peer', digest, signal())
    expect(await unreachedBy(peer, stat)).toEqual(['peer'])
    expect(await unreachedBy({ ...peer, fingerprint: '00' }, stat)).toEqual(['peer'])
    expect(await unreachedBy({ ...peer, port: 1 }, stat)).toEqual(['peer'])
  })

  test('is told where a body ends early', async () => {
    const peer = await startRogue((_, response) => {
      response.writeHead(200, { 'content-length': 100 }).write('x')
      setTimeout(() => response.destroy(), 20)
    })
    const read = async (client: TransferClient) => {
      const range = { start: 0 }
      await collect((await client.open('peer', digest, range, signal())).body)
    }
    expect(await unreachedBy(peer, read)).toEqual(['peer'])
  })

  test('is not told where the peer just says no, or nobody waits any more', async () => {
    const no = await startRogue((_, response) => response.writeHead(404).end())
    expect(await unreachedBy(no, (client) => client.stat('peer', digest, signal()))).toEqual([])
    const silent = await startRogue(() => {})
    const brief = AbortSignal.timeout(20)
    expect(await unreachedBy(silent, (client) => client.stat('peer', digest, brief))).toEqual([])
  })
})
