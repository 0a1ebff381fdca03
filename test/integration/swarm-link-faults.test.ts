import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { KnownPeer } from '../../daemon/swarm/known-peers.ts'
import { PeerLimits } from '../../daemon/swarm/limits/peer-limits.ts'
import { MAX_MESSAGE_BYTES, MAX_PART_BYTES, MAX_UNSENT_BYTES } from '../../daemon/swarm/link/constants.ts'
import { PeerLinks } from '../../daemon/swarm/link/links.ts'
import { SLICE_HEAD_BYTES, writeSliceHead } from '../../daemon/swarm/link/slice.ts'
import { createCertificate, type TransferCertificate } from '../../daemon/swarm/transfer/certificate.ts'
import { createClientContext } from '../../daemon/swarm/transfer/pool.ts'
import { TransferServer } from '../../daemon/swarm/transfer/server.ts'
import { openUpgraded, type Upgraded, type UpgradeKind } from '../../daemon/swarm/transfer/upgrade.ts'
import { ShareRecorder } from '../fixtures/share-listener.ts'
import { MemoryContent, until } from '../fixtures/swarm.ts'

const log = pino({ level: 'silent' })
const deadlines = { connect: 2_000, headers: 2_000, idle: 1_000, taking: 1_000 }
const never = new AbortController().signal

interface NodeOptions {
  readonly maxLinks?: number
  /** Where its peers are, for what it opens itself. */
  readonly locate?: (peer: string) => Promise<KnownPeer>
}

/** Links behind a real server, which admits the peers that a test names, by fingerprint. */
async function startNode({ maxLinks = 10, locate }: NodeOptions = {}) {
  const certificate = await createCertificate()
  const heard = new ShareRecorder()
  const peers = new Map<string, string>()
  const links = new PeerLinks({
    limits: new PeerLimits({ isOpen: true, onFlood: () => {} }),
    certificate,
    listener: heard,
    known: () => undefined,
    locate: locate ?? (async () => Promise.reject(new Error('no address'))),
    deadlines,
    log,
    onUnreached: () => {},
    onHeard: () => {},
    maxLinks,
  })
  const content = new MemoryContent()
  const server = new TransferServer({
    limits: new PeerLimits({ isOpen: true, onFlood: () => {} }),
    certificate,
    content,
    identify: (fingerprint) => peers.get(fingerprint),
    onUpgrade: (peer, kind, upgraded) => links.accept(peer, kind, upgraded),
    uploads: 8,
    deadlines,
    onServed: () => {},
    log,
  })
  const port = await server.start([{ host: '127.0.0.1', port: 0 }])
  onTestFinished(async () => {
    links.stop()
    await server.stop()
  })
  const address = { peerId: 'node', host: '127.0.0.1', port, fingerprint: certificate.fingerprint }
  /** What a peer of this name that is admitted may open. */
  const peer = async (name: string) => {
    const own = await createCertificate()
    peers.set(own.fingerprint, name)
    return { own, open: async (kind: UpgradeKind) => (await open(address, kind, own)).socket }
  }
  return { links, heard, content, port, address, peer }
}

async function open(address: KnownPeer, kind: UpgradeKind, own: TransferCertificate): Promise<Upgraded> {
  const upgraded = await openUpgraded(address, kind, createClientContext(own), deadlines, never)
  onTestFinished(() => void upgraded.socket.destroy())
  upgraded.socket.on('error', () => {})
  upgraded.read(() => {})
  return upgraded
}

/** A server of a peer that answers as a test says. */
async function startRogue(answer: (socket: TLSSocket) => void): Promise<KnownPeer> {
  const { key, cert, fingerprint } = await createCertificate()
  const sockets = new Set<TLSSocket>()
  const server = createServer({ key, cert }, (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    answer(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { peerId: 'rogue', host: '127.0.0.1', port: (server.address() as AddressInfo).port, fingerprint }
}

const upgraded = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: layerd-share/1\r\n\r\n'

function frame(text: string, length = text.length): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(length)
  return Buffer.concat([head, Buffer.from(text)])
}

/** Says that parts wait. */
const partsWait = Buffer.alloc(4, 0xff)

/** A peer that a node connects to for parts, which are these bytes. */
async function startSender(bytes: Buffer) {
  const connected = Promise.withResolvers<TLSSocket>()
  const rogue = await startRogue((socket) => {
    socket.once('data', () => socket.write(Buffer.concat([Buffer.from(upgraded), bytes])))
    connected.resolve(socket)
  })
  return { rogue, connected: connected.promise }
}

function slice({ id = 1, quarter = 0, total = 8, offset = 0, length = 8 } = {}): Buffer {
  const bytes = Buffer.alloc(SLICE_HEAD_BYTES + length)
  writeSliceHead(bytes, { id, quarter, total, offset, length })
  return bytes
}

describe('an upgrade', () => {
  test('is refused to strangers', async () => {
    const { address, heard } = await startNode()
    const stranger = await createCertificate()
    await expect(open(address, 'control', stranger)).rejects.toThrow()
    expect(heard.messages).toEqual([])
  })

  test.each([
    [
      'another protocol',
      'GET /share/control HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: layerd-share/9\r\n\r\n',
    ],
    ['another path', 'GET /share/other HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: layerd-share/1\r\n\r\n'],
    [
      'another method',
      'POST /share/bulk HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: layerd-share/1\r\n\r\n',
    ],
  ])('to %s is refused, and the connection closed', async (_, request) => {
    const { port, peer } = await startNode()
    const { own } = await peer('a')
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...own })
    let answer = ''
    socket.on('data', (data) => (answer += data.toString('latin1')))
    socket.write(request)
    await once(socket, 'close')
    expect(answer).toMatch(/^HTTP\/1\.1 404 /)
  })

  test('loses nothing of what comes right behind it, on either side', async () => {
    const { port, peer, links, heard } = await startNode({
      locate: () =>
        startRogue(
          (socket) => void socket.write(Buffer.concat([Buffer.from(upgraded), frame('first'), frame('second')])),
        ),
    })
    links.send('rogue', Buffer.from('hello'))
    await until(() => heard.messages.length === 2)
    const { own } = await peer('a')
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...own })
    onTestFinished(() => void socket.destroy())
    const request = 'GET /share/control HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: layerd-share/1\r\n\r\n'
    socket.write(Buffer.concat([Buffer.from(request), frame('third'), frame('fourth').subarray(0, 7)]))
    await until(() => heard.messages.length === 3)
    socket.write(frame('fourth').subarray(7))
    await until(() => heard.messages.length === 4)
    expect(heard.messages).toEqual(['first', 'second', 'third', 'fourth'])
  })

  test.each([1, 2])('behind %i requests that are not answered yet takes no upload for good', async (requests) => {
    const { port, peer, content } = await startNode()
    const digest = content.add(randomBytes(2 ** 24))
    const { own } = await peer('a')
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...own })
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    await once(socket, 'secureConnect')
    socket.pause()
    const request = `GET /blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`
    socket.write(request.repeat(requests))
    await until(() => content.opened === requests)
    socket.write('GET /share/control HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: layerd-share/1\r\n\r\n')
    await until(() => content.closed === requests)
  })

  test.each<[string, (socket: TLSSocket) => void]>([
    ['answers with an error', (socket) => socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n')],
    ['answers with no end', (socket) => socket.write('HTTP/1.1 101 Switching\r\n'.padEnd(10_000, 'x'))],
    ['closes', (socket) => socket.destroy()],
    ['does not answer', () => {}],
  ])('of a peer that %s makes no link', async (_, answer) => {
    const rogue = await startRogue(answer)
    const { links, heard } = await startNode({ locate: async () => rogue })
    links.send('rogue', Buffer.from('hello'))
    await until(() => heard.ended.length > 0)
    expect(heard.ended).toEqual(['rogue'])
  })

  test('of a peer with another certificate makes no link', async () => {
    const rogue = await startRogue((socket) => socket.write('no answer at all'.padEnd(10_000, 'x')))
    const { links, heard } = await startNode({ locate: async () => ({ ...rogue, fingerprint: '00'.repeat(32) }) })
    await expect(links.sendPart('rogue', { id: 1, quarter: 0 }, Buffer.from('x'), never)).rejects.toThrow('certificate')
    await until(() => heard.ended.length > 0)
  })
})

describe('a link ends', () => {
  test.each<[string, UpgradeKind, Buffer]>([
    ['a message that is too long', 'control', frame('', MAX_MESSAGE_BYTES + 1)],
    ['a part that is too long', 'bulk', slice({ total: MAX_PART_BYTES + 1 })],
    ['a slice that ends behind its part', 'bulk', slice({ total: 7 })],
    ['an empty slice', 'bulk', slice({ length: 0 })],
    ['a part that does not begin at its start', 'bulk', slice({ total: 16, offset: 8 })],
    ['a gap', 'bulk', Buffer.concat([slice({ total: 24 }), slice({ total: 24, offset: 16 })])],
    ['a slice of another part', 'bulk', Buffer.concat([slice({ total: 16 }), slice({ id: 2, total: 16, offset: 8 })])],
    ['another length', 'bulk', Buffer.concat([slice({ total: 16 }), slice({ total: 24, offset: 8 })])],
  ])('with a peer that sends %s', async (_, kind, bytes) => {
    const { rogue, connected } = await startSender(bytes)
    const { heard, peer } = await startNode({ locate: async () => rogue })
    const { open } = await peer('a')
    const control = await open('control')
    const closed = [once(control, 'close')]
    if (kind === 'bulk') {
      control.write(partsWait)
      closed.push(once(await connected, 'close'))
    } else control.write(bytes)
    await Promise.all(closed)
    await until(() => heard.ended.length === 1)
    expect(heard.parts).toEqual([])
  })

  test('with a peer that does not read, rather than fill the memory', async () => {
    const { heard, links, peer } = await startNode()
    const { open } = await peer('a')
    const socket = await open('control')
    socket.pause()
    socket.write(frame('hello'))
    await until(() => heard.messages.length === 1)
    const message = Buffer.alloc(2 ** 16)
    let sent = 0
    await until(() => {
      for (let count = 0; count < 16 && heard.ended.length === 0; count++, sent += message.length)
        links.send('a', message)
      return heard.ended.length > 0
    })
    expect(sent).toBeGreaterThan(MAX_UNSENT_BYTES / 2)
    socket.resume()
    await once(socket, 'close')
    expect(heard.ended).toEqual(['a'])
  })

  test.each<[string, (opened: TLSSocket, own: TLSSocket) => void]>([
    ['closes one of its connections', (opened) => opened.end()],
    ['closes the other one', (_, own) => own.end()],
    ['sends on both', (opened) => opened.write(frame('two'))],
  ])('with a peer that %s', async (_, act) => {
    const opened = Promise.withResolvers<TLSSocket>()
    const rogue = await startRogue((socket) => {
      socket.write(upgraded)
      opened.resolve(socket)
    })
    const { heard, links, peer } = await startNode({ locate: async () => rogue })
    const { open } = await peer('rogue')
    links.send('rogue', Buffer.from('hello'))
    const own = await open('control')
    own.write(frame('one'))
    await until(() => heard.messages.length === 1)
    expect(heard.ended).toEqual([])
    const closed = [once(own.resume(), 'close'), once((await opened.promise).resume(), 'close')]
    act(await opened.promise, own)
    await Promise.all(closed)
    await until(() => heard.ended.length === 1)
    expect(heard.messages).toEqual(['one'])
  })

  test('when the peer makes a new one, before anything of that is told', async () => {
    const { heard, peer } = await startNode()
    const { open } = await peer('a')
    const [control, bulk] = [await open('control'), await open('bulk')]
    control.write(frame('old'))
    await until(() => heard.messages.length === 1)
    const closed = [once(control, 'close'), once(bulk, 'close')]
    let endedBefore = -1
    heard.onMessage = () => {
      endedBefore = heard.ended.length
    }
    const again = await open('control')
    again.write(frame('new'))
    await until(() => heard.messages.length === 2)
    await Promise.all(closed)
    expect([endedBefore, heard.ended]).toEqual([1, ['a']])
    again.write(frame('newer'))
    await until(() => heard.messages.length === 3)
    expect(heard.ended).toEqual(['a'])
  })

  test('when there are too many, and it is the one that was idle for longest', async () => {
    const { heard, peer } = await startNode({ maxLinks: 2 })
    const [a, b, c] = [await peer('a'), await peer('b'), await peer('c')]
    const first = await a.open('control')
    await b.open('control')
    first.write(frame('still here'))
    await until(() => heard.messages.length === 1)
    await c.open('control')
    await until(() => heard.ended.length > 0)
    expect(heard.ended).toEqual(['b'])
  })
})

test('a part that is begun and not ended is dropped when the next one begins', async () => {
  const bytes = randomBytes(8)
  const whole = slice({ id: 2 })
  bytes.copy(whole, SLICE_HEAD_BYTES)
  const { rogue } = await startSender(Buffer.concat([slice({ id: 1, total: 100, length: 40 }), whole]))
  const { heard, peer } = await startNode({ locate: async () => rogue })
  const { open } = await peer('a')
  const control = await open('control')
  control.write(partsWait)
  await until(() => heard.parts.length === 1)
  expect(heard.parts.map(({ head, bytes: got }) => [head, got])).toEqual([[{ id: 2, quarter: 0 }, bytes]])
  expect(heard.bytes.in).toBe(48)
})

test('a peer that does not connect for the parts that it is told of is given up', async () => {
  const { heard, links, peer } = await startNode()
  const { open } = await peer('a')
  await open('control')
  await expect(links.sendPart('a', { id: 1, quarter: 0 }, Buffer.from('x'), never)).rejects.toThrow('does not connect')
  await until(() => heard.ended.length === 1)
})

test('a peer that sends on the connection where it should receive is cut off', async () => {
  const { heard, peer } = await startNode()
  const { open } = await peer('a')
  const bulk = await open('bulk')
  const closed = once(bulk, 'close')
  bulk.write(slice())
  await closed
  await until(() => heard.ended.length === 1)
  expect(heard.parts).toEqual([])
})
