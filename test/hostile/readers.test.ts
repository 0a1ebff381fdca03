import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, until } from '../fixtures/node.ts'
import { spawnNode } from '../fixtures/process.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const layer = pseudoRandomBytes(16_000_000, 'layer')
const small = pseudoRandomBytes(50_000, 'small')

/** How much more memory a node may have because of clients that read nothing: the buffers of as many as are served. */
const mayGrow = 200 * 2 ** 20

/** Resident memory of a process, in bytes. */
async function memoryOf(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

/** A node in a process of its own that has a large and a small blob. */
async function setUp() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const node = await spawnNode(await tempDir(), ['--registry', `docker.io=${upstream.url}`])
  const pathOf = (digest: Digest) => `/v2/team/app/blobs/${digest}`
  const paths = { large: pathOf(upstream.addBlob(layer)), small: pathOf(upstream.addBlob(small)) }
  expect(digestOf((await ask(node.url, paths.large)).body)).toBe(digestOf(layer))
  const isServed = async () => expect(digestOf((await ask(node.url, paths.small)).body)).toBe(digestOf(small))
  await isServed()
  return { node, paths, isServed, before: await memoryOf(node.child.pid) }
}

async function connected(url: string): Promise<Socket> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  await once(socket, 'connect')
  return socket
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`

describe('a client that reads nothing', () => {
  it('costs no memory by asking 2,000 times on one connection', async () => {
    const { node, paths, isServed, before } = await setUp()
    const socket = await connected(node.url)
    socket.pause()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write(get(paths.large).repeat(2_000))
    await isServed()
    socket.resume()
    await closed
    expect((await memoryOf(node.child.pid)) - before).toBeLessThan(mayGrow)
    await isServed()
  })

  it('costs little memory by asking on 900 connections, and others are served meanwhile', async () => {
    const { node, paths, before } = await setUp()
    for (let count = 0; count < 900; count++) {
      const socket = await connected(node.url)
      socket.pause()
      socket.write(get(paths.large))
    }
    // Until the node has begun to send all that it will: its memory does not grow for a second.
    let [largest, still] = [0, 0]
    await until(async () => {
      const now = await memoryOf(node.child.pid)
      still = now > largest + 2 ** 20 ? 0 : still + 1
      largest = Math.max(largest, now)
      return still >= 50
    })
    expect(largest - before).toBeLessThan(mayGrow)
    // By another address, as the one has as many bodies under way as it may.
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port: Number(new URL(node.url).port), host: '127.0.0.1', localAddress: '127.0.0.2' })
      let text = ''
      socket.on('data', (bytes) => {
        text += bytes.toString('latin1')
      })
      socket.on('close', () => resolve(text)).on('error', reject)
      socket.write(get(paths.small).replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    })
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(answer.length).toBeGreaterThan(small.length)
  })
})

describe('clients behind one address', () => {
  it('are not shut out for good by those of them that read nothing', async () => {
    const { node, paths, isServed } = await setUp()
    for (let count = 0; count < 140; count++) {
      const socket = await connected(node.url)
      socket.pause()
      socket.write(get(paths.large))
    }
    // It waits for its turn until those that take nothing are cut, which is before it would be told to go elsewhere.
    await isServed()
  })
})

describe('requests for lists of tags', () => {
  it('have as many of them in memory as there are places, and others are served meanwhile', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    upstream.tag('team/app', 'latest', upstream.addManifest({}))
    const held = Promise.withResolvers<void>()
    upstream.hold('tags/list', held.promise)
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const served: Socket[] = []
    for (let count = 0; count < 200; count++) {
      const socket = await connected(node.url)
      socket.once('data', () => served.push(socket))
      // Each asks something else: those who ask the same share one question.
      socket.write(get(`/v2/team/app/tags/list?n=${count + 1}`))
    }
    const asked = () => upstream.seen('tags/list').length
    await until(() => asked() >= 128)
    const path = `/v2/team/app/blobs/${upstream.addBlob(small)}`
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect({ port: Number(new URL(node.url).port), host: '127.0.0.1', localAddress: '127.0.0.2' })
      onTestFinished(() => void socket.destroy())
      socket.once('data', (bytes) => resolve(bytes.toString('latin1'))).on('error', reject)
      socket.write(get(path))
    })
    expect(answer).toMatch(/^HTTP\/1\.1 200 /)
    expect(asked()).toBe(128)
    held.resolve()
    await until(() => served.length === 200)
  })
})

describe('requests that are sent ahead', () => {
  it('are answered one after the other, in their order', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    const last = pseudoRandomBytes(100, 'last')
    const blobs = [layer.subarray(0, 3_000_000), small, last]
    const paths = blobs.map((bytes) => `/v2/team/app/blobs/${upstream.addBlob(bytes)}`)
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const socket = await connected(node.url)
    const pieces: Buffer[] = []
    socket.on('data', (bytes) => pieces.push(bytes))
    socket.write(paths.map(get).join(''))
    await until(() => Buffer.concat(pieces).includes(last), 30_000)
    const answer = Buffer.concat(pieces)
    let from = 0
    for (const bytes of blobs) {
      const at = answer.indexOf(bytes, from)
      expect(at).toBeGreaterThan(from)
      expect(answer.subarray(from, at).toString('latin1')).toMatch(/^HTTP\/1\.1 200 OK\r\n(?:[^\r]+\r\n)+\r\n$/)
      from = at + bytes.length
    }
    expect(from).toBe(answer.length)
    // The connection is good for more.
    socket.write(get('/v2/'))
    await until(() => Buffer.concat(pieces).subarray(from).includes('{}'))
  })
})
