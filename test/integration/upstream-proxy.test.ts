import { randomBytes } from 'node:crypto'
import type { LookupFunction } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { ask } from '../fixtures/client.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { selfSigned as tls } from '../fixtures/fake-upstream/tls.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, untilConnected } from '../fixtures/node.ts'
import { TestProxy } from '../fixtures/test-proxy.ts'

const bytes = randomBytes(300_000)
const digest = digestOf(bytes)

/** A registry under a name that only the proxy knows. */
async function beginning(scheme: 'http' | 'https', options: Parameters<typeof TestProxy.start>[0] = {}) {
  const fake = await FakeUpstream.start(scheme === 'https' ? { tls } : {})
  fake.addBlob(bytes)
  const name = 'registry.example.com'
  const authority = `${name}:${scheme === 'https' ? 443 : 80}`
  const proxy = await TestProxy.start({ routes: { [authority]: fake.host }, ...options })
  const registry = { endpoint: `${scheme}://${name}`, insecure: scheme === 'https' }
  return {
    fake,
    proxy,
    name,
    authority,
    registry,
    [Symbol.asyncDispose]: async () => {
      await proxy[Symbol.asyncDispose]()
      await fake.close()
    },
  }
}

test.each([
  ['http', (url: string) => ({ proxy: { http: url } })],
  ['https', (url: string) => ({ proxy: { https: url } })],
] as const)('an %s registry is asked through the proxy for it', async (scheme, settings) => {
  await using world = await beginning(scheme)
  const { fake, proxy, authority, name, registry } = world
  await using client = new TestClient(fake, { registry, upstream: settings(proxy.url) })
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  const url = `GET http://${name}/v2/library/app/blobs/${digest}`
  expect(new Set(proxy.requests)).toEqual(new Set([scheme === 'https' ? `CONNECT ${authority}` : url]))
  expect(fake.requests.map(({ headers }) => headers.host)).toEqual([name, name])
})

test.each([
  ['http', 'http'],
  ['http', 'https'],
  ['https', 'http'],
  ['https', 'https'],
] as const)('a proxy by %s takes its credentials, for %s', async (by, scheme) => {
  await using world = await beginning(scheme, { account: 'me:p@ss/word', ...(by === 'https' ? { tls } : {}) })
  const { fake, proxy, registry } = world
  const withAccount = proxy.url.replace('//', '//me:p%40ss%2Fword@')
  await using client = new TestClient(fake, {
    registry: { ...registry, proxy: withAccount },
    upstream: { attempts: 1 },
  })
  const trusted = getCACertificates('default')
  setDefaultCACertificates([...trusted, tls.cert])
  onTestFinished(() => setDefaultCACertificates(trusted))
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  expect(proxy.authorizations).toEqual([`Basic ${Buffer.from('me:p@ss/word').toString('base64')}`])
  expect(fake.requests.map(({ headers }) => headers['proxy-authorization'])).toEqual([undefined])
})

test('a proxy whose certificate nobody vouches for gets nothing, whatever is said of the registry', async () => {
  await using world = await beginning('https', { tls })
  const { fake, proxy, registry } = world
  await using client = new TestClient(fake, { registry: { ...registry, proxy: proxy.url } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/the proxy 127\.0\.0\.1:\d+: its certificate is not trusted .*NODE_EXTRA_CA_CERTS/),
  })
  expect(proxy.requests).toEqual([])
})

test.each(['http', 'https'] as const)(
  'a proxy that wants other credentials is told as such, for %s',
  async (scheme) => {
    await using world = await beginning(scheme, { account: 'me:secret' })
    const { fake, proxy, registry } = world
    const proxyUrl = proxy.url.replace('//', '//me:hunter2@')
    await using client = new TestClient(fake, { registry: { ...registry, proxy: proxyUrl } })
    const opening = client.open(digest)
    await expect(opening).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/the proxy 127\.0\.0\.1:\d+ .*\(407\); set user and password in the proxy's URL/),
    })
    await expect(opening).rejects.not.toMatchObject({ message: expect.stringContaining('hunter2') })
    // Another attempt would not help.
    expect(proxy.requests).toHaveLength(1)
    expect(fake.requests).toHaveLength(0)
  },
)

test.each(['http', 'https'] as const)('a proxy that is gone is told as such, for %s', async (scheme) => {
  const world = await beginning(scheme)
  const { fake, proxy, registry } = world
  await world[Symbol.asyncDispose]()
  await using client = new TestClient(fake, { registry: { ...registry, proxy: proxy.url }, upstream: { attempts: 1 } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringContaining(`the proxy ${proxy.host} refuses connections`),
  })
})

test('a proxy that opens no tunnel is told as such', async () => {
  await using world = await beginning('https', { refuse: 403 })
  const { fake, proxy, registry } = world
  await using client = new TestClient(fake, { registry: { ...registry, proxy: proxy.url } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringContaining(`the proxy ${proxy.host} answered 403`),
  })
  expect(proxy.requests).toHaveLength(1)
})

test('a proxy that says nothing is waited for as long as a connection', async () => {
  await using world = await beginning('https', { silent: true })
  const { fake, proxy, registry } = world
  await using client = new TestClient(fake, {
    registry: { ...registry, proxy: proxy.url },
    upstream: { attempts: 1, connectTimeout: '200ms' },
  })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/the proxy 127\.0\.0\.1:\d+: no answer in time/),
  })
})

test('loopback is asked directly, but for a registry that has a proxy of its own', async () => {
  await using fake = await FakeUpstream.start()
  fake.addBlob(bytes)
  await using proxy = await TestProxy.start()
  await using direct = new TestClient(fake, { upstream: { proxy: { http: proxy.url } } })
  expect((await direct.pull(digest)).equals(bytes)).toBe(true)
  expect(proxy.requests).toEqual([])
  await using proxied = new TestClient(fake, { registry: { proxy: proxy.url } })
  expect((await proxied.pull(digest)).equals(bytes)).toBe(true)
  expect(proxy.requests).toHaveLength(1)
})

test('"none" and an exception ask directly', async () => {
  await using world = await beginning('http')
  const { fake, proxy, registry } = world
  // The name is nobody's: without the proxy it leads nowhere.
  const lookup: LookupFunction = (_name, _options, callback) =>
    callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), '')
  const common = { http: proxy.url }
  for (const [own, settings] of [
    [{ proxy: 'none' }, { proxy: common }],
    [{}, { proxy: { ...common, except: ['.example.com'] } }],
  ]) {
    await using client = new TestClient(fake, {
      registry: { ...registry, ...own },
      upstream: { ...settings, attempts: 1 },
      lookup,
    })
    await expect(client.open(digest)).rejects.toMatchObject({ message: expect.stringMatching(/DNS/) })
  }
  expect(proxy.requests).toEqual([])
})

test('where a registry redirects to, and its token service, are asked through the proxy, too', async () => {
  await using fake = await FakeUpstream.start()
  fake.addBlob(bytes)
  const cdn = new URL(await fake.cdn()).host
  const routes = {
    'registry.example.com:80': fake.host,
    'auth.example.com:80': fake.host,
    'cdn.example.net:80': cdn,
  }
  await using proxy = await TestProxy.start({ routes })
  fake.requireBearer({ realm: 'http://auth.example.com/token' })
  fake.inject('/blobs/', faults.redirect('http://cdn.example.net'), 1)
  const registry = { endpoint: 'http://registry.example.com', proxy: proxy.url }
  await using client = new TestClient(fake, { registry })
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  expect(proxy.requests.map((line) => new URL(line.split(' ')[1] ?? '').host)).toEqual([
    'registry.example.com',
    'auth.example.com',
    'registry.example.com',
    'cdn.example.net',
  ])
})

test('transfers at the same time have a tunnel each, which later ones use again', async () => {
  await using world = await beginning('https')
  const { fake, proxy, registry } = world
  await using client = new TestClient(fake, { registry: { ...registry, proxy: proxy.url } })
  const pulls = await Promise.all(Array.from({ length: 8 }, () => client.pull(digest)))
  expect(pulls.every((pulled) => pulled.equals(bytes))).toBe(true)
  const tunnels = proxy.requests.length
  expect(tunnels).toBeLessThanOrEqual(8)
  expect(proxy.mostTunnels).toBe(tunnels)
  await client.pull(digest)
  expect(proxy.requests).toHaveLength(tunnels)
})

test('peers are never asked through a proxy', async () => {
  await using fake = await FakeUpstream.start()
  fake.addBlob(bytes)
  await using proxy = await TestProxy.start({ routes: { 'registry.example.com:80': fake.host } })
  const options = {
    registries: { 'docker.io': 'http://registry.example.com' },
    config: { upstream: { proxy: { http: proxy.url, https: proxy.url } } },
  }
  const first = await startTestNode(options)
  const second = await startTestNode({ ...options, seeds: [first] })
  await untilConnected(first, second)
  const path = `/v2/library/app/blobs/${digest}`
  for (const node of [first, second]) expect((await ask(node.url, path)).body.equals(bytes)).toBe(true)
  expect(await second.metric('layerd_fetched_bytes_total{source="peer"}')).toBe(bytes.length)
  expect(new Set(proxy.requests)).toEqual(new Set([`GET http://registry.example.com${path}`]))
})
