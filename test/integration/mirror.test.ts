import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNodeOptions, until } from '../fixtures/node.ts'

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const ociIndex = 'application/vnd.oci.image.index.v1+json'
const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json'
const layer = pseudoRandomBytes(3_000_000)

async function setUp(options: TestNodeOptions = {}) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const node = await startTestNode({ registries: { 'docker.io': upstream.url, 'ghcr.io': upstream.url }, ...options })
  const blob = upstream.addBlob(layer)
  const manifest = upstream.addManifest({ schemaVersion: 2, mediaType: ociManifest, layers: [{ digest: blob }] })
  upstream.tag('library/app', 'latest', manifest)
  return { upstream, node, blob, manifest, get: (path: string, options = {}) => ask(node.url, path, options) }
}

describe('the mirror', () => {
  it('says that it is a registry', async () => {
    const { get } = await setUp()
    for (const path of ['/v2/', '/v2']) {
      expect(await get(path)).toMatchObject({
        status: 200,
        headers: { 'docker-distribution-api-version': 'registry/2.0' },
      })
    }
  })

  it('gives a manifest by tag as upstream has it, asking HEAD, and does not ask again while the tag is fresh', async () => {
    const { upstream, get, manifest } = await setUp()
    const head = await get('/v2/library/app/manifests/latest?ns=docker.io', { method: 'HEAD' })
    expect(head).toMatchObject({
      status: 200,
      headers: { 'docker-content-digest': manifest, 'content-type': ociManifest, 'oci-namespace': 'docker.io' },
    })
    expect(upstream.requests.map(({ method }) => method)).toEqual(['HEAD'])
    const got = await get('/v2/library/app/manifests/latest?ns=docker.io')
    expect(digestOf(got.body)).toBe(manifest)
    expect(got.headers['content-length']).toBe(head.headers['content-length'])
    await get('/v2/app/manifests/latest')
    expect(upstream.seen('/manifests/latest')).toHaveLength(1)
  })

  it.each([
    '/v2/app',
    '/v2/library/app',
    '/v2/docker.io/app',
    '/v2/index.docker.io/library/app',
    '/v2/ghcr.io/library/app',
  ])('is found at %s', async (path) => {
    const { get, manifest } = await setUp()
    const got = await get(`${path}/manifests/latest`)
    expect(got).toMatchObject({ status: 200, headers: { 'docker-content-digest': manifest } })
    expect(got.headers['oci-namespace']).toBeUndefined()
  })

  it('follows a tag that moves as soon as it is not fresh any more', async () => {
    const { upstream, get } = await setUp({ config: { tags: { freshFor: '0ms' } } })
    await get('/v2/app/manifests/latest')
    const moved = upstream.addManifest({ schemaVersion: 2, mediaType: ociManifest, layers: [] })
    upstream.tag('library/app', 'latest', moved)
    expect((await get('/v2/app/manifests/latest')).headers['docker-content-digest']).toBe(moved)
  })

  it('changes no media type', async () => {
    const { upstream, get } = await setUp()
    for (const [manifest, mediaType] of [
      [{ schemaVersion: 2, manifests: [] }, ociIndex],
      [{ schemaVersion: 2, mediaType: dockerManifest, layers: [] }, dockerManifest],
      [{ schemaVersion: 2, manifests: [{}] }, 'application/vnd.docker.distribution.manifest.list.v2+json'],
      [{ schemaVersion: 2, artifactType: 'application/spdx+json', layers: [] }, ociManifest],
    ] as const) {
      const digest = upstream.addManifest(manifest, mediaType)
      // The second answer comes from the store.
      for (let time = 0; time < 2; time++) {
        const { headers, body } = await get(`/v2/app/manifests/${digest}`)
        expect(headers).toMatchObject({ 'content-type': mediaType, 'docker-content-digest': digest })
        expect(digestOf(body)).toBe(digest)
      }
      expect(upstream.seen(`GET /v2/library/app/manifests/${digest}`)).toHaveLength(1)
    }
  })

  it('never gives a manifest that the disk has changed: it is fetched again', async () => {
    const { upstream, get, node, manifest } = await setUp()
    await get('/v2/app/manifests/latest')
    await until(async () => (await node.status()).store.blobs === 1)
    const path = join(node.dataDir, 'blobs', 'sha256', manifest.slice('sha256:'.length))
    const bytes = await readFile(path)
    bytes[20] = (bytes[20] ?? 0) ^ 1
    await writeFile(path, bytes)
    const got = await get(`/v2/app/manifests/${manifest}`)
    expect([got.status, digestOf(got.body)]).toEqual([200, manifest])
    expect(upstream.seen('GET')).toHaveLength(2)
    expect(node.log.filter(({ msg }) => msg === 'a blob on disk can not be read; it is dropped')).toHaveLength(1)
  })

  it('gives a blob, whole and in ranges, cold and warm, and fetches it once', async () => {
    const { upstream, get, blob, node } = await setUp()
    const path = `/v2/library/app/blobs/${blob}`
    const head = await get(path, { method: 'HEAD' })
    expect(head).toMatchObject({ status: 200, headers: { 'content-length': '3000000', 'accept-ranges': 'bytes' } })
    expect(upstream.seen('GET')).toHaveLength(0)
    for (let time = 0; time < 2; time++) {
      const whole = await get(path)
      expect(whole).toMatchObject({ status: 200, complete: true, headers: { 'docker-content-digest': blob } })
      expect(layer.equals(whole.body)).toBe(true)
      for (const [range, start, end] of [
        ['bytes=0-', 0, 2_999_999],
        ['bytes=1000000-', 1_000_000, 2_999_999],
        ['bytes=5-9', 5, 9],
        ['bytes=-7', 2_999_993, 2_999_999],
      ] as const) {
        const part = await get(path, { headers: { range } })
        expect(part).toMatchObject({ status: 206, headers: { 'content-range': `bytes ${start}-${end}/3000000` } })
        expect(layer.subarray(start, end + 1).equals(part.body)).toBe(true)
      }
    }
    expect(await get(path, { headers: { range: 'bytes=3000000-' } })).toMatchObject({
      status: 416,
      headers: { 'content-range': 'bytes */3000000' },
    })
    expect(upstream.seen('GET')).toHaveLength(1)
    expect(await node.metric('layerd_fetched_bytes_total{source="upstream"}')).toBe(3_000_000)
  })

  it('answers a range of a cold blob', async () => {
    const { get, blob } = await setUp()
    const part = await get(`/v2/app/blobs/${blob}`, { headers: { range: 'bytes=2000000-' } })
    expect(part.status).toBe(206)
    expect(layer.subarray(2_000_000).equals(part.body)).toBe(true)
  })

  it('never encodes content', async () => {
    const { upstream, get, blob } = await setUp()
    const got = await get(`/v2/app/blobs/${blob}`, { headers: { 'accept-encoding': 'zstd, gzip, deflate' } })
    expect(got.headers['content-encoding']).toBeUndefined()
    expect(digestOf(got.body)).toBe(blob)
    expect(upstream.seen('GET')[0]?.headers['accept-encoding']).toBe('identity')
  })

  it('gives an empty blob, also to a client that always asks for a range', async () => {
    const { upstream, get } = await setUp()
    const digest = upstream.addBlob(Buffer.alloc(0))
    for (const headers of [{}, { range: 'bytes=0-' }] as Record<string, string>[]) {
      const got = await get(`/v2/app/blobs/${digest}`, { headers })
      expect(got).toMatchObject({ status: 200, complete: true, headers: { 'content-length': '0' } })
    }
  })

  it('gives a blob whose upstream says no length', async () => {
    const { upstream, get, blob } = await setUp()
    upstream.inject('/blobs/', faults.chunked())
    const got = await get(`/v2/app/blobs/${blob}`)
    expect(got).toMatchObject({ status: 200, complete: true })
    expect(digestOf(got.body)).toBe(blob)
  })

  it('passes tag lists on, and leads to their next page through itself', async () => {
    const { upstream, get, manifest } = await setUp()
    upstream.tag('library/app', 'v1', manifest)
    const first = await get('/v2/library/app/tags/list?n=1&ns=docker.io')
    expect(JSON.parse(first.body.toString())).toEqual({ name: 'library/app', tags: ['latest'] })
    const next = /<(.*)>; rel="next"/.exec(first.headers.link ?? '')?.[1] ?? ''
    expect(next).toBe('/v2/library/app/tags/list?n=1&last=latest&ns=docker.io')
    expect(JSON.parse((await get(next)).body.toString()).tags).toEqual(['v1'])
  })

  it('passes referrers on', async () => {
    const { upstream, get, manifest } = await setUp()
    const sbom = upstream.addManifest({ schemaVersion: 2, subject: { digest: manifest }, layers: [] })
    const got = await get(`/v2/app/referrers/${manifest}?artifactType=a/b`)
    expect(got).toMatchObject({ status: 200, headers: { 'content-type': ociIndex } })
    expect(JSON.parse(got.body.toString()).manifests).toMatchObject([{ digest: sbom }])
    expect(upstream.seen('/referrers/')[0]?.query.get('artifactType')).toBe('a/b')
    upstream.inject('/referrers/', faults.status(404))
    expect((await get(`/v2/app/referrers/${manifest}`)).status).toBe(404)
  })

  it('logs one line for each request, and counts bytes', async () => {
    const { get, blob, node } = await setUp()
    await get(`/v2/app/blobs/${blob}?ns=docker.io`)
    await get('/v2/app/manifests/nope')
    expect(node.log.filter(({ msg }) => msg === 'request')).toMatchObject([
      { repository: 'docker.io/library/app', reference: blob, source: 'upstream', bytes: 3_000_000, status: 200 },
      { repository: 'docker.io/library/app', reference: 'nope', status: 404 },
    ])
    expect(await node.metric('layerd_served_bytes_total{to="client"}')).toBe(3_000_000)
    await until(async () => (await node.status()).store.blobs === 1)
    expect(await node.status()).toMatchObject({
      counters: { fetchedBytes: { upstream: 3_000_000, peer: 0 }, servedBytes: { client: 3_000_000, peer: 0 } },
      store: { bytes: 3_000_000, blobs: 1 },
    })
  })
})

describe('bad requests', () => {
  const digest = `sha256:${'a'.repeat(64)}`

  it.each([
    ['GET', '/v2/Upper/manifests/latest', 400, 'NAME_INVALID', /lower-case/],
    ['GET', '/v2/a/../b/manifests/latest', 400, 'NAME_INVALID', /repository name/],
    ['GET', '/v2/a%2fb/manifests/latest', 400, 'NAME_INVALID', /percent-encoding/],
    ['GET', '/v2/a%2e%2e/manifests/latest', 400, 'NAME_INVALID', /percent-encoding/],
    ['GET', '/v2/app/manifests/-bad', 404, 'MANIFEST_UNKNOWN', /tag/],
    ['GET', '/v2/app/manifests/.INVALID_MANIFEST_NAME', 404, 'MANIFEST_UNKNOWN', /tag/],
    ['GET', '/v2/app/manifests/nope', 404, 'MANIFEST_UNKNOWN', /not known to its registry/],
    ['GET', '/v2/app/manifests/sha256:123', 400, 'DIGEST_INVALID', /64 hex/],
    ['GET', '/v2/app/blobs/latest', 400, 'DIGEST_INVALID', /64 hex/],
    ['GET', '/v2/app/blobs/..%2f..%2fetc%2fpasswd', 400, 'DIGEST_INVALID', /digest/],
    ['GET', '/v2/app/referrers/latest', 400, 'DIGEST_INVALID', /64 hex/],
    [
      'GET',
      `/v2/app/blobs/${digest}?ns=evil.example.com`,
      404,
      'NAME_UNKNOWN',
      /evil.example.com is not in this node's list/,
    ],
    ['GET', `/v2/app/blobs/${digest}?ns=http://127.0.0.1`, 404, 'NAME_UNKNOWN', /not in this node's list/],
    ['GET', `/v2/app/blobs/${digest}?ns=docker.io&ns=ghcr.io`, 400, 'NAME_INVALID', /more than once/],
    ['GET', `/v2/app/blobs/${digest}`, 404, 'BLOB_UNKNOWN', /not known to its registry/],
    ['GET', `/v2/app/manifests/${digest}`, 404, 'MANIFEST_UNKNOWN', /not known to its registry/],
    ['PUT', '/v2/docker.io/app/manifests/latest', 405, 'UNSUPPORTED', /for pulling/],
    ['POST', '/v2/app/blobs/uploads/?ns=docker.io', 405, 'UNSUPPORTED', /for pulling/],
    ['DELETE', `/v2/docker.io/app/blobs/${digest}`, 405, 'UNSUPPORTED', /for pulling/],
    ['POST', '/v2/library/app/blobs/uploads/', 403, 'DENIED', /a name of docker.io/],
    ['POST', `/v2/app/blobs/${digest}`, 405, 'UNSUPPORTED', /not a method of this resource/],
    ['GET', '/v2/_other', 404, 'UNSUPPORTED', /no such resource/],
    ['GET', '/', 404, 'UNSUPPORTED', /below \/v2\//],
    ['GET', `/v2/${'a/'.repeat(9000)}manifests/latest`, 414, 'URI_TOO_LONG', /16384/],
    ['GET', `/v2/${'a'.repeat(300)}/manifests/latest`, 400, 'NAME_INVALID', /300 characters/],
  ])('%s %.60s is %i %s', async (method, path, status, code, message) => {
    const { get, upstream } = await setUp()
    const got = await get(path, { method })
    expect(got.status).toBe(status)
    expect(JSON.parse(got.body.toString())).toEqual({ errors: [{ code, message: expect.stringMatching(message) }] })
    expect(got.headers['content-type']).toMatch(/^application\/json/)
    if (status !== 404) expect(upstream.requests).toEqual([])
  })

  it('refuses headers that are too large, and what is no HTTP, with a message', async () => {
    const { get } = await setUp()
    const large = await get('/v2/', { headers: { 'x-large': 'x'.repeat(40_000) } })
    expect([large.status, large.body.toString()]).toEqual([431, expect.stringMatching(/more than 32768 bytes/)])
    const credentials = await get('/v2/app/manifests/latest', {
      headers: { authorization: `Bearer ${'x'.repeat(20_000)}` },
    })
    expect(credentials.status).toBe(431)
  })

  it.each([
    ['.INVALID_MANIFEST_NAME', 404],
    ['nope', 404],
    ['sha256:123', 400],
  ])('answers HEAD of the manifest %s with %i', async (reference, status) => {
    const { get } = await setUp()
    expect((await get(`/v2/app/manifests/${reference}`, { method: 'HEAD' })).status).toBe(status)
  })

  it('says nothing about content in an error', async () => {
    const { get } = await setUp()
    const { headers } = await get(`/v2/app/blobs/${digest}`, { method: 'HEAD' })
    expect(headers.etag).toBeUndefined()
    expect(headers['docker-content-digest']).toBeUndefined()
  })
})
