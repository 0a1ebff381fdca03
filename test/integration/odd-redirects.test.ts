import { describe, expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { ask } from '../fixtures/client.ts'
import { selfSigned } from '../fixtures/fake-upstream/tls.ts'
import { FakeUpstream, type FakeUpstreamOptions, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode } from '../fixtures/node.ts'

// A registry that sends its clients to another one, which asks who they are. Each host is told what is known for that host.

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
const layer = Buffer.from('the bytes of a layer that is kept elsewhere')
const mediaType = 'application/vnd.oci.image.manifest.v1+json'

async function startFake(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start(options)
  onTestFinished(() => fake.close())
  return fake
}

/** `first` redirects everything to `second`, which has an image. */
async function setUp(options: { readonly first?: FakeUpstreamOptions } = {}) {
  const first = await startFake(options.first)
  const second = await startFake()
  first.inject('/v2/', (answer, { path }) => {
    Object.assign(answer, { status: 307, headers: { location: `${second.url}${path}` }, body: Buffer.alloc(0) })
  })
  const blob = second.addBlob(layer)
  const manifest = second.addManifest({ schemaVersion: 2, mediaType, layers: [] }, mediaType)
  second.tag('library/app', 'v1', manifest)
  return { first, second, blob, manifest }
}

/** Every `Authorization` that a registry has seen, those of its token service included. */
const told = (fake: FakeUpstream) =>
  fake.requests.map(({ headers }) => headers.authorization).filter((one) => one !== undefined)

async function pull(url: string, blob: Digest, headers = {}) {
  const resolved = await ask(url, '/v2/library/app/manifests/v1', { method: 'HEAD', headers })
  const manifest = await ask(url, '/v2/library/app/manifests/v1', { headers })
  const content = await ask(url, `/v2/library/app/blobs/${blob}`, { headers })
  return { statuses: [resolved.status, manifest.status, content.status], digest: digestOf(content.body), content }
}

describe('a registry that redirects to another one', () => {
  it('is followed there, with a token of that one, which is asked for once', async () => {
    const { first, second, blob } = await setUp()
    const tokens = second.requireBearer()
    const node = await startTestNode({
      registries: { 'docker.io': { endpoint: first.url, username: 'a', password: 'first' } },
    })
    expect(await pull(node.url, blob)).toMatchObject({ statuses: [200, 200, 200], digest: blob })
    expect(tokens.issued).toBe(1)
    expect(told(first)).toEqual([])
    expect(told(second).every((one) => one?.startsWith('Bearer token-'))).toBe(true)
  })

  it('is followed with the credentials that are configured for the other one, never with its own', async () => {
    const { first, second, blob } = await setUp()
    second.requireBearer({ accounts: { b: 'second' } })
    const node = await startTestNode({
      registries: {
        'docker.io': { endpoint: first.url, username: 'a', password: 'first' },
        'second.example': { endpoint: second.url, username: 'b', password: 'second' },
      },
    })
    expect(await pull(node.url, blob)).toMatchObject({ statuses: [200, 200, 200], digest: blob })
    expect(told(first)).toEqual([])
    expect(told(second)).toContain(basic('b:second'))
    expect(told(second)).not.toContain(basic('a:first'))
  })

  it("brings nobody's credentials where there are none for the other one", async () => {
    const { first, second, blob } = await setUp()
    second.requireBearer({ accounts: { a: 'first', guest: 'own' } })
    const node = await startTestNode({
      registries: { 'docker.io': { endpoint: first.url, username: 'a', password: 'first' } },
    })
    expect((await pull(node.url, blob)).statuses).toEqual([503, 503, 503])
    const authorization = basic('guest:own')
    expect((await pull(node.url, blob, { authorization })).statuses).toEqual([503, 503, 503])
    expect((await pull(node.url, blob, { authorization: 'Bearer own-token' })).statuses).toEqual([503, 503, 503])
    expect(told(second)).toEqual([])
  })

  it("answers the other one's Basic, too", async () => {
    const { first, second, blob } = await setUp()
    second.requireBasic('b', 'second')
    const registries = {
      'docker.io': first.url,
      'second.example': { endpoint: second.url, username: 'b', password: 'second' },
    }
    const node = await startTestNode({ registries })
    expect(await pull(node.url, blob)).toMatchObject({ statuses: [200, 200, 200], digest: blob })
  })

  it('gets nothing back when the other one sends us back', async () => {
    const { first, second, blob } = await setUp()
    first.heal()
    first.requireBasic('a', 'first')
    first.addBlob(layer)
    let seen = 0
    first.inject('/blobs/', (answer, { path }) => {
      if (++seen > 1) return
      Object.assign(answer, { status: 307, headers: { location: `${second.url}${path}` }, body: Buffer.alloc(0) })
    })
    second.inject('/blobs/', faults.redirect(first.url))
    const node = await startTestNode({
      registries: { 'docker.io': { endpoint: first.url, username: 'a', password: 'first' } },
    })
    await ask(node.url, `/v2/library/app/blobs/${blob}`)
    const returned = first.requests.filter(({ query }) => query.has('X-Signature'))
    expect(returned.length).toBeGreaterThan(0)
    expect(returned.map(({ headers }) => headers.authorization).filter(Boolean)).toEqual([])
  })
})

describe('an https registry that redirects to storage without encryption', () => {
  const secure = { first: { tls: selfSigned } }

  it('is not followed, and the message says what allows it', async () => {
    const { first, second, blob } = await setUp(secure)
    const node = await startTestNode({ registries: { 'docker.io': { endpoint: first.url, insecure: true } } })
    const { statuses, content } = await pull(node.url, blob)
    expect(statuses).toEqual([503, 503, 503])
    expect(content.body.toString()).toContain('insecureRedirects')
    expect(second.requests).toEqual([])
  })

  it('is followed for what has a digest where that is allowed, without anything secret', async () => {
    const { first, second, blob, manifest } = await setUp(secure)
    first.heal()
    first.requireBasic('a', 'first')
    first.inject('/v2/', faults.redirect(second.url))
    const options = { endpoint: first.url, insecure: true, insecureRedirects: true, username: 'a', password: 'first' }
    const node = await startTestNode({
      registries: {
        'docker.io': options,
        'second.example': { endpoint: second.url, username: 'b', password: 'second' },
      },
    })
    const content = await ask(node.url, `/v2/library/app/blobs/${blob}`)
    expect([content.status, digestOf(content.body)]).toEqual([200, blob])
    expect((await ask(node.url, `/v2/library/app/manifests/${manifest}`)).status).toBe(200)
    // What a tag is must not be said by whoever is on the way.
    expect((await ask(node.url, '/v2/library/app/manifests/v1')).status).toBe(503)
    second.requireBasic('b', 'second')
    const other = second.addBlob(Buffer.from('another layer'))
    expect((await ask(node.url, `/v2/library/app/blobs/${other}`)).status).toBe(503)
    expect(told(second)).toEqual([])
  })
})

describe('an https registry that calls itself http in a redirect', () => {
  it('is followed with encryption', async () => {
    const upstream = await startFake({ tls: selfSigned })
    const blob = upstream.addBlob(layer)
    upstream.inject('/v2/library/', (answer, { path }) => {
      const location = `http://127.0.0.1${path.replace('/v2/library/', '/v2/moved/')}`
      Object.assign(answer, { status: 301, headers: { location }, body: Buffer.alloc(0) })
    })
    const node = await startTestNode({ registries: { 'docker.io': { endpoint: upstream.url, insecure: true } } })
    const got = await ask(node.url, `/v2/library/app/blobs/${blob}`)
    expect([got.status, digestOf(got.body)]).toEqual([200, blob])
  })
})

describe('a token service on another domain', () => {
  it('is not asked, and the client is told of it, so that it can ask there itself', async () => {
    const upstream = await startFake()
    const blob = upstream.addBlob(layer)
    // The same machine under another name: a foreign host as far as names go.
    const realm = `${upstream.url.replace('127.0.0.1', 'localhost')}/token`
    const tokens = upstream.requireBearer({ realm, accounts: { a: 'first' } })
    const node = await startTestNode({
      registries: { 'docker.io': { endpoint: upstream.url, username: 'a', password: 'first' } },
    })
    const path = `/v2/library/app/blobs/${blob}`
    const refused = await ask(node.url, path)
    expect([refused.status, refused.headers['www-authenticate']]).toEqual([
      401,
      `Bearer realm="${realm}",service="fake",scope="repository:library/app:pull"`,
    ])
    expect(refused.body.toString()).toContain('authRealms')
    expect(tokens.issued).toBe(0)
    const answer = await ask(upstream.url, '/token?scope=repository:library/app:pull', {
      headers: { authorization: basic('a:first') },
    })
    const { token } = JSON.parse(answer.body.toString())
    const got = await ask(node.url, path, { headers: { authorization: `Bearer ${token}` } })
    expect([got.status, digestOf(got.body)]).toEqual([200, blob])
  })
})

describe('lists', () => {
  it('pass cursors that only upstream understands, in both directions', async () => {
    const upstream = await startFake()
    const cursors: (string | null)[] = []
    upstream.inject('/tags/list', (answer, { path, query, rawQuery }) => {
      cursors.push(rawQuery)
      const page = Number(query.get('next_page') ?? 0)
      answer.status = 200
      answer.headers = {
        'content-type': 'application/json',
        ...(page < 3 ? { link: `<${path}?n=2&next_page=${page + 1}&sig=a%2Fb+c>; rel="next"` } : {}),
      }
      answer.body = Buffer.from(JSON.stringify({ name: 'library/app', tags: [`t${page}`] }))
    })
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const tags: string[] = []
    let path: string | undefined = '/v2/library/app/tags/list?n=2&ns=docker.io'
    while (path !== undefined) {
      const got = await ask(node.url, path)
      tags.push(...JSON.parse(got.body.toString()).tags)
      path = /<([^>]+)>/.exec(got.headers.link ?? '')?.[1]
      expect(tags.length).toBeLessThan(10)
    }
    expect(tags).toEqual(['t0', 't1', 't2', 't3'])
    expect(cursors).toEqual(['n=2', ...[1, 2, 3].map((page) => `n=2&next_page=${page}&sig=a%2Fb+c`)])
  })
})

describe('lists that are odd', () => {
  const list = Buffer.from(JSON.stringify({ name: 'library/app', tags: ['v1'] }))

  it.each([
    ['are called HTML', { 'content-type': 'text/html' }, undefined],
    ['link without a relation', { link: '</v2/library/app/tags/list?last=v1>' }, '/v2/library/app/tags/list?last=v1'],
    ['link without brackets', { link: '/x?last=v1; rel=next' }, '/v2/library/app/tags/list?last=v1'],
    [
      'have long cursors',
      { link: `</x?c=${'a'.repeat(6_000)}>; rel="next"` },
      `/v2/library/app/tags/list?c=${'a'.repeat(6_000)}`,
    ],
  ])('are passed on where they %s', async (_what, headers, next) => {
    const upstream = await startFake()
    upstream.inject('/tags/list', (answer) => Object.assign(answer, { status: 200, headers, body: list }))
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const got = await ask(node.url, '/v2/library/app/tags/list')
    expect([got.status, got.body.equals(list)]).toEqual([200, true])
    expect(got.headers['content-type'] ?? '').not.toContain('html')
    expect(/<([^>]*)>/.exec(got.headers.link ?? '')?.[1]).toBe(next)
  })

  it('are an error where they lead to the same page for ever', async () => {
    const upstream = await startFake()
    const headers = { link: '</v2/library/app/tags/list/page2>; rel="next"' }
    upstream.inject('/tags/list', (answer) => Object.assign(answer, { status: 200, headers, body: list }))
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const got = await ask(node.url, '/v2/library/app/tags/list')
    expect([got.status, got.body.toString()]).toEqual([503, expect.stringContaining('continues the list')])
  })

  it.each([
    ['a page for people', faults.html()],
    ['400', faults.status(400)],
    ['406', faults.status(406)],
    ['501', faults.status(501)],
  ])('of referrers are not known where the registry answers with %s', async (_what, fault) => {
    const upstream = await startFake()
    const subject = upstream.addBlob(layer)
    upstream.inject('/referrers/', fault)
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    expect((await ask(node.url, `/v2/library/app/referrers/${subject}`)).status).toBe(404)
  })
})

describe('a digest whose colon is encoded', () => {
  it('is a digest', async () => {
    const upstream = await startFake()
    const blob = upstream.addBlob(layer)
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const got = await ask(node.url, `/v2/library/app/blobs/${blob.replace(':', '%3A')}`)
    expect([got.status, digestOf(got.body)]).toEqual([200, blob])
  })
})

describe('a signed URL', () => {
  it('is asked for byte for byte, and with the user that it names', async () => {
    const upstream = await startFake()
    const blob = upstream.addBlob(layer)
    const cdn = await upstream.cdn()
    const query = `sig=a'b%2Bc+d|e^f`
    upstream.inject('/blobs/', (answer, request) => {
      if (request.server !== 'registry') return
      const location = `${cdn.replace('://', '://user:pass@')}${request.path}?${query}`
      Object.assign(answer, { status: 307, headers: { location }, body: Buffer.alloc(0) })
    })
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    const got = await ask(node.url, `/v2/library/app/blobs/${blob}`)
    expect([got.status, digestOf(got.body)]).toEqual([200, blob])
    const asked = upstream.requests.find(({ server }) => server === 'cdn')
    expect([asked?.url, asked?.headers.authorization]).toEqual([
      `/v2/library/app/blobs/${blob}?${query}`,
      basic('user:pass'),
    ])
  })
})

describe('a path that begins with a host', () => {
  it('is a repository of the registry that ns names', async () => {
    const upstream = await startFake()
    const manifest = upstream.addManifest({ schemaVersion: 2, mediaType, layers: [] }, mediaType)
    upstream.tag('docker.io/library/app', 'v1', manifest)
    const node = await startTestNode({
      registries: { 'harbor.example': upstream.url, 'docker.io': 'http://127.0.0.1:9' },
    })
    const got = await ask(node.url, '/v2/docker.io/library/app/manifests/v1?ns=harbor.example')
    expect([got.status, digestOf(got.body)]).toEqual([200, manifest])
    expect(upstream.requests[0]?.path).toBe('/v2/docker.io/library/app/manifests/v1')
  })
})

describe('a layer whose first byte takes long', () => {
  it('is waited for, and keeps nobody from other images meanwhile', async () => {
    const upstream = await startFake()
    const slow = upstream.addBlob(layer)
    const quick = upstream.addBlob(Buffer.from('quick'))
    const held = Promise.withResolvers<void>()
    upstream.hold(slow, held.promise)
    const node = await startTestNode({
      registries: { 'docker.io': upstream.url },
      config: { upstream: { responseTimeout: '30s', attempts: 1 }, tags: { patience: '300ms' } },
    })
    const waiting = ask(node.url, `/v2/library/app/blobs/${slow}`)
    await upstream.waitForRequest(slow)
    // HEAD of the same is given up after a while, as if upstream were away.
    const head = ask(node.url, `/v2/library/app/blobs/${slow}`, { method: 'HEAD' })
    await upstream.waitForRequest(`HEAD /v2/library/app/blobs/${slow}`)
    expect((await head).status).toBe(503)
    expect((await ask(node.url, `/v2/library/app/blobs/${quick}`)).status).toBe(200)
    held.resolve()
    const got = await waiting
    expect([got.status, digestOf(got.body)]).toEqual([200, slow])
  })
})
