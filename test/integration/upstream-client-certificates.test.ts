import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { expect, test } from 'vitest'
import { configSchema } from '../../config/schema.ts'
import { RegistryList } from '../../proxy/known-registries.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { certificateFor } from '../fixtures/certificates.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { selfSigned as tls } from '../fixtures/fake-upstream/tls.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { TestProxy } from '../fixtures/test-proxy.ts'

const bytes = Buffer.from('the bytes of a layer')
const digest = digestOf(bytes)

interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
}

/** An https server that asks for a client certificate and takes any, or none. */
async function startServer(answer: (message: IncomingMessage) => Answer) {
  const seen: string[] = []
  const server = createServer(
    { ...tls, requestCert: true, rejectUnauthorized: false },
    (message: IncomingMessage, response: ServerResponse) => {
      const { subject } = (message.socket as TLSSocket).getPeerCertificate()
      seen.push(`${subject?.CN ?? 'nobody'} ${message.headers.authorization ?? ''}`.trim())
      const { status = 200, headers = {}, body = '' } = answer(message)
      response.writeHead(status, { 'content-length': Buffer.byteLength(body), ...headers }).end(body)
    },
  )
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  return {
    /** Who asked, in order: the name in the client certificate, and `Authorization`. */
    seen,
    url: `https://127.0.0.1:${port}`,
    host: `127.0.0.1:${port}`,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

async function options() {
  const folder = await tempDir()
  const { cert, key } = await certificateFor('node.example.com')
  await Promise.all([
    writeFile(join(folder, 'ca.pem'), tls.cert),
    writeFile(join(folder, 'cert.pem'), cert),
    writeFile(join(folder, 'key.pem'), key),
  ])
  return { ca: join(folder, 'ca.pem'), cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') }
}

test('the registry is shown the client certificate', async () => {
  await using registry = await startServer(() => ({ body: bytes }))
  await using client = new TestClient(registry, { registry: await options() })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(registry.seen).toEqual(['node.example.com'])
})

test('what it gives is private, though no password was needed, and nobody asks it anonymously', async () => {
  await using registry = await startServer(() => ({ body: bytes }))
  await using client = new TestClient(registry, { registry: await options() })
  expect(await client.open(digest)).toMatchObject({ access: 'private' })
  expect(await client.stat('blob', digest)).toMatchObject({ access: 'private' })
  const { length } = registry.seen
  const { repository } = client
  const { signal } = new AbortController()
  const asked = client.upstream.stat({ repository, kind: 'blob', digest, anonymous: true, signal })
  await expect(asked).rejects.toMatchObject({ code: 'unauthorized' })
  expect(registry.seen).toHaveLength(length)
})

test('a guest is not let in by it, whatever it says of itself, and the registry is left alone', async () => {
  await using registry = await startServer(() => ({ body: bytes }))
  await using client = new TestClient(registry, { registry: await options() })
  const { repository } = client
  const { signal } = new AbortController()
  for (const authorization of [undefined, 'Basic YTpi', 'Bearer abc']) {
    const guest = { repository, kind: 'blob', digest, authorization, isGuest: true, signal } as const
    for (const asked of [client.upstream.stat(guest), client.upstream.open({ ...guest, offset: 0 })]) {
      await expect(asked).rejects.toMatchObject({ code: 'unauthorized', message: /lendCredentials/ })
    }
  }
  expect(registry.seen).toEqual([])
})

test('a guest whom another registry sends here is not let in by it either', async () => {
  await using other = await startServer(() => ({ body: bytes }))
  await using registry = await startServer(() => ({ status: 307, headers: { location: `${other.url}/blob` } }))
  const { ca, cert, key } = await options()
  const { registries } = configSchema.parse({
    registries: {
      [registry.host]: { endpoint: registry.url, ca },
      [other.host]: { endpoint: other.url, ca, cert, key },
    },
  })
  await using client = new TestClient(registry, { registries: new RegistryList(registries, false) })
  const { repository } = client
  for (const isGuest of [true, false]) {
    const { signal } = new AbortController()
    await client.upstream.open({ repository, kind: 'blob', digest, isGuest, offset: 0, signal })
  }
  expect(other.seen).toEqual(['nobody', 'node.example.com'])
})

test('through a proxy, too, which sees nothing of it', async () => {
  await using registry = await startServer(() => ({ body: bytes }))
  await using proxy = await TestProxy.start()
  await using client = new TestClient(registry, { registry: { ...(await options()), proxy: proxy.url } })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(registry.seen).toEqual(['node.example.com'])
  expect(proxy.requests).toEqual([`CONNECT ${registry.host}`])
})

test.each([
  ['directly', false],
  ['through a proxy', true],
])('a host that it redirects to is not, and its CA is trusted there, %s', async (_how, isProxied) => {
  await using storage = await startServer(() => ({ body: bytes }))
  await using registry = await startServer(() => ({ status: 307, headers: { location: `${storage.url}/blob` } }))
  await using proxy = await TestProxy.start()
  const own = isProxied ? { proxy: proxy.url } : {}
  await using client = new TestClient(registry, { registry: { ...(await options()), ...own } })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(registry.seen).toEqual(['node.example.com'])
  expect(storage.seen).toEqual(['nobody'])
  expect(proxy.requests).toHaveLength(isProxied ? 2 : 0)
})

test('a token service on another origin is not, and one on its own is', async () => {
  for (const isOwn of [false, true]) {
    const token = { headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token: 'abc' }) }
    await using service = await startServer(() => token)
    let realm = `${service.url}/token`
    await using registry = await startServer(({ url, headers }) => {
      if (url?.startsWith('/token') === true) return token
      if (headers.authorization === 'Bearer abc') return { body: bytes }
      return { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}",service="s"` } }
    })
    if (isOwn) realm = `${registry.url}/token`
    await using client = new TestClient(registry, { registry: await options() })
    expect(await client.pull(digest)).toEqual(bytes)
    expect(service.seen).toEqual(isOwn ? [] : ['nobody'])
    expect(new Set(registry.seen.map((line) => line.split(' ')[0]))).toEqual(new Set(['node.example.com']))
  }
})

test('a key that is not there is told at once', async () => {
  const registry = { ...(await options()), key: '/absent.pem' }
  const make = () => new TestClient({ url: 'https://127.0.0.1:1', host: '127.0.0.1:1' }, { registry })
  expect(make).toThrow(/127\.0\.0\.1:1.*key.*\/absent\.pem/)
})
