import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, LookupFunction } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { configSchema } from '../../config/schema.ts'
import { RegistryList } from '../../proxy/known-registries.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { createUpstream, type UpstreamOptions } from '../../proxy/upstream/client.ts'
import { certificateFor } from '../fixtures/certificates.ts'
import { ask } from '../fixtures/client.ts'
import { collect } from '../fixtures/fake-upstream/client.ts'
import { selfSigned as tls } from '../fixtures/fake-upstream/tls.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode } from '../fixtures/node.ts'
import { TestProxy } from '../fixtures/test-proxy.ts'

const bytes = randomBytes(300_000)
const digest = digestOf(bytes)

/** The registry client with a configuration. */
function clientOf(given: object, options: Partial<UpstreamOptions> = {}) {
  const config = configSchema.parse(given)
  const upstream = createUpstream({
    registries: new RegistryList(config.registries, config.upstream.anyRegistry),
    settings: { ...config.upstream, attempts: 1, connectTimeout: 2_000 },
    dockerConfig: undefined,
    version: 'test',
    logger: { debug: () => undefined, warn: () => undefined },
    ...options,
  })
  const signal = new AbortController().signal
  const open = (registry: string) =>
    upstream.open({ repository: { registry, name: 'library/app' }, kind: 'blob', digest, offset: 0, signal })
  return {
    open,
    pull: async (registry: string) => collect(await open(registry)),
    [Symbol.asyncDispose]: () => upstream.close(),
  }
}

/** Resolves every name to the same addresses, without asking anybody. */
const resolvesTo =
  (...addresses: readonly string[]): LookupFunction =>
  (_name, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

async function fakeWithBlob(options: Parameters<typeof FakeUpstream.start>[0] = {}): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start(options)
  fake.addBlob(bytes)
  return fake
}

test('an endpoint whose path is the root of the API, as of a proxy project of Harbor', async () => {
  const paths: (string | undefined)[] = []
  const server = createServer(({ url }, response) => {
    paths.push(url)
    response.end(bytes)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(() => void server.close())
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/dockerhub-proxy/`
  await using client = clientOf({ registries: { 'docker.io': { endpoint, overridePath: true } } })
  expect((await client.pull('docker.io')).equals(bytes)).toBe(true)
  expect(paths).toEqual([`/v2/dockerhub-proxy/library/app/blobs/${digest}`])
})

test('a pattern holds for all names below it, each at its own host, with the options of its entry', async () => {
  await using fake = await fakeWithBlob({ tls })
  fake.requireBasic('me', 'secret')
  const routes = { 'a.example.com:443': fake.host, 'b.c.example.com:443': fake.host }
  await using proxy = await TestProxy.start({ routes })
  const entry = { insecure: true, proxy: proxy.url, username: 'me', password: 'secret' }
  await using client = clientOf({ registries: { '*.example.com': { endpoint: 'https://*.example.com', ...entry } } })
  for (const name of ['a.example.com', 'b.c.example.com']) {
    expect((await client.pull(name)).equals(bytes)).toBe(true)
    expect(fake.requests.at(-1)?.headers.host).toBe(name)
  }
  expect(new Set(proxy.requests)).toEqual(new Set(Object.keys(routes).map((authority) => `CONNECT ${authority}`)))
  for (const name of ['example.com', 'a.example.net', 'a.example.com:5000']) {
    await expect(client.open(name)).rejects.toMatchObject({ code: 'not-found' })
  }
})

test('a registry that gives way to others finishes its transfers, and is asked again', async () => {
  await using fake = await fakeWithBlob({ tls })
  fake.inject('/blobs/', faults.slow(200_000), 1)
  const names = Array.from({ length: 150 }, (_, index) => `r${index}.example.com`)
  await using proxy = await TestProxy.start({
    routes: Object.fromEntries(names.map((name) => [`${name}:443`, fake.host])),
  })
  const entry = { endpoint: 'https://*.example.com', insecure: true, proxy: proxy.url }
  await using client = clientOf({ registries: { '*.example.com': entry } })
  const slow = await client.open('r0.example.com')
  // It is the first of the kept ones to go.
  for (const name of names.slice(1)) await client.pull(name)
  expect((await collect(slow)).equals(bytes)).toBe(true)
  expect((await client.pull('r0.example.com')).equals(bytes)).toBe(true)
})

test('any public registry is asked where that is allowed, by https, with a certificate of its name', async () => {
  const name = 'registry.example.com'
  const pair = await certificateFor(name)
  const trusted = getCACertificates('default')
  setDefaultCACertificates([...trusted, pair.cert])
  onTestFinished(() => setDefaultCACertificates(trusted))
  await using fake = await fakeWithBlob({ tls: pair })
  await using proxy = await TestProxy.start({
    routes: { [`${name}:443`]: fake.host, 'other.example.com:443': fake.host },
  })
  const settings = { registries: {}, upstream: { proxy: { https: proxy.url } } }
  await using closed = clientOf(settings)
  await expect(closed.open(name)).rejects.toMatchObject({ code: 'not-found' })
  await using client = clientOf({ ...settings, upstream: { ...settings.upstream, anyRegistry: true } })
  expect((await client.pull(name)).equals(bytes)).toBe(true)
  await expect(client.open('other.example.com')).rejects.toMatchObject({
    message: expect.stringMatching(/certificate is not trusted/),
  })
  for (const hidden of ['127.0.0.1:5000', 'localhost:5000', 'registry.internal', 'nas.local', '[::1]', 'box.lan']) {
    await expect(client.open(hidden)).rejects.toMatchObject({ code: 'not-found' })
  }
})

test.each([['127.0.0.1'], ['10.0.0.7', '169.254.169.254'], ['::ffff:127.0.0.1'], ['fd00::1']])(
  'a public name that resolves to %s is not connected to',
  async (...addresses) => {
    await using client = clientOf(
      { registries: {}, upstream: { anyRegistry: true } },
      { lookup: resolvesTo(...addresses) },
    )
    await expect(client.open('rebound.example.com')).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/rebound\.example\.com has no public address .*anyRegistry/),
    })
  },
)

test.each([
  ['an address', (host: string) => `https://${host}`],
  ['a name in the network', () => 'https://vault.internal'],
  ['the metadata of a cloud', () => 'https://169.254.169.254'],
])('nor does a redirect to %s lead anywhere', async (_what, target) => {
  const name = 'registry.example.com'
  const pair = await certificateFor(name)
  const trusted = getCACertificates('default')
  setDefaultCACertificates([...trusted, pair.cert])
  onTestFinished(() => setDefaultCACertificates(trusted))
  await using fake = await fakeWithBlob({ tls: pair })
  await using inner = await fakeWithBlob({ tls: pair })
  await using proxy = await TestProxy.start({
    routes: { [`${name}:443`]: fake.host, 'vault.internal:443': inner.host },
  })
  fake.inject('/blobs/', faults.redirect(target(inner.host)))
  await using client = clientOf({ registries: {}, upstream: { anyRegistry: true, proxy: { https: proxy.url } } })
  await expect(client.open(name)).rejects.toMatchObject({
    code: 'broken',
    message: expect.stringMatching(/no public host.*anyRegistry/),
  })
  expect(inner.requests).toEqual([])
  expect(new Set(proxy.requests)).toEqual(new Set([`CONNECT ${name}:443`]))
})

test('the mirror knows a registry with its port and its dot, and those that a pattern names', async () => {
  const fake = await FakeUpstream.start()
  onTestFinished(() => fake.close())
  fake.addBlob(bytes)
  const node = await startTestNode({ registries: { 'ghcr.io': fake.url, '*.example.com': 'https://*.example.com' } })
  for (const path of [
    `/v2/me/app/blobs/${digest}?ns=ghcr.io:443`,
    `/v2/me/app/blobs/${digest}?ns=ghcr.io.`,
    `/v2/ghcr.io:443/me/app/blobs/${digest}`,
    `/v2/GHCR.io./me/app/blobs/${digest}?ns=ghcr.io`,
  ]) {
    const { status, body } = await ask(node.url, path)
    expect([path, status, body.equals(bytes)]).toEqual([path, 200, true])
  }
  expect(fake.seen('/v2/me/app/blobs/').length).toBeGreaterThan(0)
  const refused = await ask(node.url, `/v2/me/app/blobs/${digest}?ns=example.net`)
  expect(refused.status).toBe(404)
})
