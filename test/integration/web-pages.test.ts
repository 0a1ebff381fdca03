import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, it, onTestFinished } from 'vitest'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode } from '../fixtures/node.ts'

const browser = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36'

/** A node in front of a registry with an image, and a blob that claims to be a page. */
async function setUp(hosts: readonly string[] = []) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const layer = pseudoRandomBytes(1_000, 'layer')
  const blob = upstream.addBlob(layer)
  const manifest = upstream.addManifest({
    schemaVersion: 2,
    mediaType: 'text/html',
    layers: [],
    a: '<script>alert(1)</script>',
  })
  const page = upstream.addBlob(Buffer.from(JSON.stringify({ mediaType: 'text/html', a: '<script>alert(1)</script>' })))
  upstream.tag('team/app', 'latest', manifest)
  const node = await startTestNode({
    registries: { 'docker.io': upstream.url },
    config: { registry: { hosts, loginListen: '127.0.0.1:0' } },
  })
  const port = new URL(node.url).port
  const servers = [node.url, `http://${node.addresses.login}`, `http://${node.addresses.admin}`] as const
  const base = '/v2/docker.io/team/app'
  const paths = [`${base}/blobs/${blob}`, `${base}/manifests/latest`, `${base}/tags/list`]
  return { upstream, node, port, servers, paths, base, page, manifest }
}

describe('a request by a name', () => {
  it.each([
    'evil.example',
    'evil.example:5050',
    'localhost.evil.example',
    '192.0.2.1.evil.example',
    '192.0.2',
    '[evil.example]',
    '127.0.0.1.evil.example',
    'a b',
  ])('that is not of this node, %s, is refused everywhere and asks nobody', async (host) => {
    const { upstream, servers, paths } = await setUp(['mirror.example'])
    for (const server of servers) {
      for (const path of [...paths, '/v2/', '/api/v1/status', '/metrics', '/livez']) {
        for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
          const answer = await ask(server, path, { method, headers: { host } })
          expect(answer.status, `${method} ${path}`).toBe(403)
          if (method === 'GET') expect(answer.body.toString()).toContain('registry.hosts')
        }
      }
    }
    expect(upstream.requests).toEqual([])
  })

  it('of this machine, an address, or one that is configured, is answered, whatever its port', async () => {
    const { node, port, servers } = await setUp(['mirror.example', '*.cluster.local'])
    const names = [
      `127.0.0.1:${port}`,
      'localhost',
      'LOCALHOST:80',
      'localhost.:1',
      '127.0.0.53',
      '[::1]:5050',
      'a.localhost',
    ]
    const configured = ['mirror.example:80', 'Mirror.Example', 'layerd.cluster.local']
    // The node need not know them: a container is reached by its host's, a service by one that no machine has.
    const addresses = ['203.0.113.7:1', '[2001:DB8::0:7]', '192.0.2.1:5050', '[2001:db8::1]:80']
    for (const host of [...names, ...addresses, ...configured]) {
      expect((await ask(node.url, '/v2/', { headers: { host } })).status, host).toBe(200)
      expect((await ask(servers[2], '/livez', { headers: { host } })).status, host).toBe(200)
    }
    for (const host of ['cluster.local', 'evilcluster.local', '.cluster.local']) {
      expect((await ask(node.url, '/v2/', { headers: { host } })).status, host).toBe(403)
    }
  })

  it('may be missing in HTTP/1.0', async () => {
    const { port } = await setUp()
    const socket = connect(Number(port), '127.0.0.1')
    socket.write('GET /v2/ HTTP/1.0\r\n\r\n')
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 200 /)
  })
})

describe('a request of a web page', () => {
  const foreign: [string, Record<string, string>][] = [
    [
      'another site fetches',
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' },
    ],
    [
      'another site leads to',
      { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' },
    ],
    ['another port of this machine fetches', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'cors' }],
    ['an old browser fetches', { origin: 'https://evil.example' }],
    ['a page without an origin fetches', { origin: 'null' }],
    ['a very old browser fetches', { referer: 'http://evil.example/page' }],
    ['another port of this machine fetches in an old browser', { origin: 'http://127.0.0.1:1' }],
    [
      'another site fetches by an address that is not of this machine',
      { host: '192.0.2.1:5050', origin: 'http://evil.example' },
    ],
  ]
  it.each(foreign)('that %s is refused, and asks nobody', async (_what, headers) => {
    const { upstream, servers, paths } = await setUp()
    for (const server of servers) {
      for (const path of [...paths, '/v2/', '/metrics']) {
        for (const method of ['GET', 'HEAD', 'POST', 'OPTIONS']) {
          expect((await ask(server, path, { method, headers })).status, `${method} ${path}`).toBe(403)
        }
      }
    }
    expect(upstream.requests).toEqual([])
  })

  it('that a person typed, and of a program that calls itself so, is answered; a browser without a word is not', async () => {
    const { node, servers, port } = await setUp()
    const own = { origin: `http://127.0.0.1:${port}` }
    for (const headers of [{ 'sec-fetch-site': 'none', 'user-agent': browser }, { 'sec-fetch-mode': 'cors' }, own]) {
      expect((await ask(node.url, '/v2/', { headers })).status).toBe(200)
    }
    expect((await ask(node.url, '/v2/', { headers: { 'user-agent': browser } })).status).toBe(403)
    expect((await ask(servers[2], '/livez', { headers: { 'user-agent': browser } })).status).toBe(200)
  })
})

describe('no answer', () => {
  it('can run, be taken for something else, or be used by another site', async () => {
    const { servers, paths } = await setUp()
    for (const server of servers) {
      for (const path of [...paths, '/v2/', '/metrics', '/api/v1/status', '/nothing']) {
        const { headers } = await ask(server, path)
        expect(headers['x-content-type-options'], path).toBe('nosniff')
        expect(headers['content-security-policy'], path).toContain('sandbox')
        expect(headers['cross-origin-resource-policy'], path).toBe('same-origin')
        expect(Object.keys(headers).filter((name) => name.startsWith('access-control-'))).toEqual([])
      }
    }
  })

  it('is a page because its content says so, nor a manifest that nobody said it is', async () => {
    const { node, base, page, manifest } = await setUp()
    const blob = await ask(node.url, `${base}/blobs/${page}`)
    expect(blob).toMatchObject({ status: 200, headers: { 'content-type': 'application/octet-stream' } })
    // Cold it is upstream's to say; once it is in the store, its bytes have to.
    for (let times = 0; times < 2; times++) {
      expect((await ask(node.url, `${base}/manifests/${page}`)).status).toBe(404)
    }
    const type = 'application/vnd.oci.image.manifest.v1+json'
    for (const reference of ['latest', manifest]) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await ask(node.url, `${base}/manifests/${reference}`, { method })
        expect(answer).toMatchObject({ status: 200, headers: { 'content-type': type } })
      }
    }
  })
})
