import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { configSchema } from '../../config/schema.ts'
import { RegistryList } from '../../proxy/known-registries.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { createUpstream } from '../../proxy/upstream/client.ts'
import { certificateFor } from '../fixtures/certificates.ts'
import { ask } from '../fixtures/client.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { selfSigned as tls } from '../fixtures/fake-upstream/tls.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, until } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

// One registry leads to another. What the other one gives the node for what it knows the node by is that node's alone; and
// where a registry can lead the node, no secret goes that is not for that very host.

const bytes = Buffer.from('the bytes of a private layer')
const digest = digestOf(bytes)
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
const path = `/v2/library/app/blobs/${digest}`
const never = new AbortController().signal
const stranger = { headers: { authorization: basic('some:body') } }

interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: Uint8Array | string
}

/** A host that answers as told, and notes every Authorization. */
async function serve(isSecure: boolean, answer: (message: IncomingMessage) => Reply) {
  const told: (string | undefined)[] = []
  const sockets = new Set<Socket>()
  const server = isSecure ? createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: false }) : createServer()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  server.on('request', (message, response) => {
    told.push(message.headers.authorization)
    const { status = 200, headers = {}, body = '' } = answer(message)
    response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers }).end(body)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  onTestFinished(close)
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { told, sockets, close, host, url: `${isSecure ? 'https' : 'http'}://${host}` }
}

async function startFake(): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start()
  onTestFinished(() => fake.close())
  return fake
}

/** Whether a client that no registry has let in gets the blob from a node whose registries are gone. */
async function leaks(url: string): Promise<boolean> {
  const answers = [await ask(url, path, stranger), await ask(url, path, { ...stranger, method: 'HEAD' })]
  return answers.some(({ status }) => status === 200)
}

describe('content that another registry gave for what it knows the node by', () => {
  /** `first` redirects for the blob to `second`, which wants a password that the node has. */
  async function setUp(more: object = {}) {
    const first = await startFake()
    const second = await startFake()
    second.addBlob(bytes)
    second.requireBasic('u', 'secret')
    const isRedirected = { head: true }
    first.inject(digest, (answer, { method }) => {
      if (method === 'HEAD' && !isRedirected.head) {
        Object.assign(answer, { status: 200, headers: {}, body: bytes })
      } else
        Object.assign(answer, { status: 307, headers: { location: `${second.url}${path}` }, body: Buffer.alloc(0) })
    })
    const node = await startTestNode({
      registries: {
        'docker.io': { endpoint: first.url, ...more },
        'second.example': { endpoint: second.url, username: 'u', password: 'secret' },
      },
    })
    return { first, second, node, isRedirected }
  }

  it('is given to who asked, and kept nowhere', async () => {
    const { first, second, node } = await setUp()
    const got = await ask(node.url, path)
    expect([got.status, digestOf(got.body)]).toEqual([200, digest])
    expect((await node.status()).store).toMatchObject({ blobs: 0, bytes: 0 })
    await first.close()
    await second.close()
    expect(await leaks(node.url)).toBe(false)
  })

  it('is not public because other content of the repository is', async () => {
    const { first, second, node } = await setUp({ username: 'a', password: 'pw' })
    const open = first.addBlob(Buffer.from('public'))
    first.requireBearer({ accounts: { a: 'pw' }, anonymous: true })
    expect((await ask(node.url, `/v2/library/app/blobs/${open}`)).status).toBe(200)
    expect((await ask(node.url, path)).status).toBe(200)
    await first.close()
    await second.close()
    expect(await leaks(node.url)).toBe(false)
  })

  it('is not public because the first registry says so to HEAD', async () => {
    const { first, second, node, isRedirected } = await setUp()
    isRedirected.head = false
    expect((await ask(node.url, path)).status).toBe(200)
    await first.close()
    await second.close()
    expect(await leaks(node.url)).toBe(false)
  })

  it('is not for those whom the first registry lets in', async () => {
    const { first, node } = await setUp({ username: 'a', password: 'pw' })
    const own = first.addBlob(Buffer.from('private at the first'))
    first.requireBearer({ accounts: { a: 'pw', guest: 'g' } })
    const guest = { headers: { authorization: basic('guest:g') } }
    expect((await ask(node.url, `/v2/library/app/blobs/${own}`, guest)).status).toBe(200)
    for (let time = 0; time < 2; time++) expect((await ask(node.url, path)).status).toBe(200)
    expect((await ask(node.url, path, guest)).status).toBeGreaterThanOrEqual(400)
  })

  it('is not public where it was given for a client certificate', async () => {
    const folder = await tempDir()
    const { cert, key } = await certificateFor('node.example.com')
    const file = async (name: string, text: string) => {
      await writeFile(join(folder, name), text)
      return join(folder, name)
    }
    const ca = [await file('ca.pem', tls.cert)]
    const isNode = ({ socket }: IncomingMessage) =>
      (socket as TLSSocket).getPeerCertificate()?.subject?.CN === 'node.example.com'
    const second = await serve(true, (message) => (isNode(message) ? { body: bytes } : { status: 403 }))
    const first = await serve(true, ({ url }) => ({ status: 307, headers: { location: `${second.url}${url}` } }))
    const certificate = { cert: await file('cert.pem', cert), key: await file('key.pem', key) }
    const node = await startTestNode({
      registries: {
        'docker.io': { endpoint: first.url, ca },
        'b.example': { endpoint: second.url, ca, ...certificate },
      },
    })
    expect((await ask(node.url, path)).status).toBe(200)
    first.close()
    second.close()
    expect(await leaks(node.url)).toBe(false)
  })
})

describe('private content that is kept in storage which asks for nothing', () => {
  it.each([
    ['a token', (fake: FakeUpstream) => void fake.requireBearer({ accounts: { u: 'secret' } })],
    ['a password', (fake: FakeUpstream) => fake.requireBasic('u', 'secret')],
    [
      'credentials, which it hides',
      (fake: FakeUpstream) =>
        fake.inject('/v2/library/', (answer, { headers, server }) => {
          if (server === 'registry' && headers.authorization !== basic('u:secret')) {
            Object.assign(answer, { status: 404, headers: {}, body: Buffer.alloc(0) })
          }
        }),
    ],
  ])('is private, as the redirect to it was given for %s', async (_what, guard) => {
    const fake = await startFake()
    fake.addBlob(bytes)
    const cdn = await fake.cdn()
    fake.inject('/blobs/', (answer, request) => {
      if (request.server === 'cdn') return
      Object.assign(answer, { status: 307, headers: { location: `${cdn}${request.path}` }, body: Buffer.alloc(0) })
    })
    guard(fake)
    const node = await startTestNode({
      registries: { 'docker.io': { endpoint: fake.url, username: 'u', password: 'secret' } },
    })
    const got = await ask(node.url, path)
    expect([got.status, digestOf(got.body)]).toEqual([200, digest])
    await until(async () => (await node.status()).store.blobs === 1)
    expect((await ask(node.url, path, stranger)).status).toBeGreaterThanOrEqual(400)
    await fake.close()
    expect(await leaks(node.url)).toBe(false)
    // Those whom the registry has let in have it from the store.
    expect((await ask(node.url, path)).status).toBe(200)
  })

  it('is cached where the registry wants a client certificate', async () => {
    const { node, first, asked } = await startCertified(() => ({ body: bytes }))
    for (let time = 0; time < 3; time++) {
      expect((await ask(node.url, path)).status).toBe(200)
      await until(async () => (await node.status()).store.blobs === 1)
    }
    expect(asked()).toBe(1)
    first.close()
    expect(await leaks(node.url)).toBe(false)
  })

  it('is not public because a transfer began at a registry that is', async () => {
    const first = await startFake()
    const second = await startFake()
    second.addBlob(bytes)
    second.requireBasic('u', 'secret')
    first.addBlob(bytes)
    let requests = 0
    first.inject(/GET .*blobs/, (answer) => {
      if (requests++ === 0) answer.cutAfter = 1
      else Object.assign(answer, { status: 307, headers: { location: `${second.url}${path}` }, body: Buffer.alloc(0) })
    })
    const node = await startTestNode({
      registries: {
        'docker.io': { endpoint: first.url },
        'second.example': { endpoint: second.url, username: 'u', password: 'secret' },
      },
      config: { upstream: { attempts: 2 } },
    })
    await ask(node.url, path)
    expect(requests).toBeGreaterThan(1)
    await first.close()
    await second.close()
    expect(await leaks(node.url)).toBe(false)
  })
})

/** A registry that is shown the node's certificate, and redirects to storage that is not. */
async function startCertified(storage: (message: IncomingMessage) => Reply) {
  const folder = await tempDir()
  const { cert, key } = await certificateFor('node.example.com')
  const file = async (name: string, text: string) => {
    await writeFile(join(folder, name), text)
    return join(folder, name)
  }
  const second = await serve(true, storage)
  let requests = 0
  const first = await serve(true, ({ url }) => {
    requests++
    return { status: 307, headers: { location: `${second.url}${url}` } }
  })
  const options = {
    endpoint: first.url,
    ca: [await file('ca.pem', tls.cert)],
    cert: await file('cert.pem', cert),
    key: await file('key.pem', key),
  }
  return { node: await startTestNode({ registries: { 'docker.io': options } }), first, asked: () => requests }
}

describe('what is for one host', () => {
  function upstreamOf(registries: object, dockerConfig?: string) {
    const settings = { connectTimeout: '2s', responseTimeout: '5s', attempts: 1 }
    const config = configSchema.parse({ registries, upstream: settings })
    const upstream = createUpstream({
      registries: new RegistryList(config.registries, false),
      settings: config.upstream,
      dockerConfig,
      version: 'test',
      logger: { debug: () => undefined, warn: () => undefined },
    })
    onTestFinished(() => upstream.close())
    return async (registry: string, name: string) => {
      const opened = await upstream
        .open({ repository: { registry, name }, kind: 'blob', digest, offset: 0, signal: never })
        .catch(() => undefined)
      for await (const _ of opened?.body ?? []) break
      return opened !== undefined
    }
  }
  const asksBasic: Reply = { status: 401, headers: { 'www-authenticate': 'Basic realm="x"' } }

  it('is not sent to another one that has the name of its registry', async () => {
    const named = await serve(false, () => ({ status: 403 }))
    const real = await serve(false, ({ headers }) =>
      headers.authorization === basic('u:secret') ? { body: bytes } : asksBasic,
    )
    const location = `${named.url}/v2/team/app/blobs/${digest}`
    const evil = await serve(false, () => ({ status: 307, headers: { location } }))
    const open = upstreamOf({
      [named.host]: { endpoint: real.url, username: 'u', password: 'secret' },
      'evil.example': { endpoint: evil.url },
    })
    expect(await open(named.host, 'team/app')).toBe(true)
    expect(await open('evil.example', 'x')).toBe(false)
    expect(named.told.length).toBeGreaterThan(0)
    expect(named.told.filter(Boolean)).toEqual([])
  })

  it.each([
    ['by http', false, {}],
    ['by a registry whose certificate is not looked at', true, { insecure: true }],
  ])('is not sent to who is reached %s, where nobody has configured it', async (_how, isSecure, options) => {
    const second = await serve(isSecure, () => asksBasic)
    const location = `${second.url}/v2/x/blobs/${digest}`
    const first = await serve(isSecure, () => ({ status: 307, headers: { location } }))
    const dockerConfig = join(await tempDir(), 'config.json')
    await writeFile(dockerConfig, JSON.stringify({ auths: { [second.host]: { auth: btoa('u:secret') } } }))
    const open = upstreamOf({ 'a.example': { endpoint: first.url, ...options } }, dockerConfig)
    expect(await open('a.example', 'x')).toBe(false)
    expect(second.told.length).toBeGreaterThan(0)
    expect(second.told.filter(Boolean)).toEqual([])
  })

  it('is not sent by Basic to who asks for it in another way, nor to who has failed to say how', async () => {
    const digestOnly = await serve(false, () => ({ status: 401, headers: { 'www-authenticate': 'Digest realm="x"' } }))
    const busy = await serve(false, ({ url }) => ({ status: url === '/v2/' ? 503 : 404 }))
    const password = { username: 'u', password: 'secret' }
    const open = upstreamOf({
      'a.example': { endpoint: digestOnly.url, ...password },
      'b.example': { endpoint: busy.url, ...password },
    })
    expect(await open('a.example', 'x')).toBe(false)
    expect(await open('b.example', 'x')).toBe(false)
    expect([...digestOnly.told, ...busy.told].filter(Boolean)).toEqual([])
  })

  it('does not leave the answers unread that it was refused with', async () => {
    const large = Buffer.alloc(8_000_000)
    const second = await serve(false, ({ url, headers }) => {
      if (url?.startsWith('/token') === true) return { status: 503 }
      return {
        status: 401,
        headers: { 'www-authenticate': `Bearer realm="http://${headers.host}/token"` },
        body: large,
      }
    })
    const first = await startFake()
    first.inject('/blobs/', (answer) => {
      Object.assign(answer, { status: 307, headers: { location: `${second.url}${path}` }, body: Buffer.alloc(0) })
    })
    await using client = new TestClient(first, { upstream: { attempts: 1 } })
    await expect(client.pull(digest)).rejects.toMatchObject({ code: 'broken' })
    const [socket] = second.sockets
    if (socket?.closed === false) await new Promise((resolve) => socket.once('close', resolve))
    // The one that asked for a token may be kept for the next request.
    expect(second.sockets.size).toBeLessThanOrEqual(1)
  })
})

describe('links of lists', () => {
  it('lead to no other registry, and not to the same page', async () => {
    const upstream = await startFake()
    const links = [
      '</v2/library/app/tags/list?last=a&ns=evil.example>; rel="next"',
      '</v2/library/app/tags/list>; rel="next"',
    ]
    upstream.tag('library/app', 'v1', upstream.addManifest({ schemaVersion: 2, layers: [] }))
    upstream.inject('/tags/list', (answer) => {
      answer.headers.link = links.shift() ?? ''
    })
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const next = async () => (await ask(node.url, '/v2/docker.io/library/app/tags/list')).headers.link
    expect(await next()).toBe('</v2/docker.io/library/app/tags/list?last=a>; rel="next"')
    expect(await next()).toBeUndefined()
  })
})
