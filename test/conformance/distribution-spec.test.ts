import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { startTestNode } from '../fixtures/node.ts'
import {
  codeOf,
  descriptorOf,
  digestsOf,
  localhost,
  manifestOf,
  ociIndex,
  ociManifest,
  RegistryClient,
  testImage,
  withDigest,
} from '../fixtures/registry-client.ts'

/**
 * The distribution-spec 1.1, section by section, against a whole node. The public suite runs against one as well, by
 * `npm run conformance`.
 */

const sha512 = (bytes: Uint8Array) => `sha512:${createHash('sha512').update(bytes).digest('hex')}` as Digest
const nowhere = { 'docker.io': 'http://127.0.0.1:1' }

async function setUp(name = 'team/app') {
  const node = await startTestNode({ registries: nowhere })
  return { node, client: new RegistryClient(node.url, name), other: new RegistryClient(node.url, 'team/other') }
}

const small = pseudoRandomBytes(3_000, 'small')
/** Of more than one quarter, and not of whole ones. */
const large = pseudoRandomBytes(1_300_001, 'large')

describe('pushing a blob', () => {
  it.each([
    ['POST and PUT, sha256', large, digestOf(large)],
    ['POST and PUT, sha512', large, sha512(large)],
    ['POST and PUT, empty', Buffer.alloc(0), digestOf(Buffer.alloc(0))],
    ['POST and PUT, empty, sha512', Buffer.alloc(0), sha512(Buffer.alloc(0))],
  ])('%s', async (_how, bytes, digest) => {
    const { client } = await setUp()
    const pushed = await client.pushBlob(bytes, digest)
    expect(pushed).toMatchObject({ status: 201, headers: { 'docker-content-digest': digest } })
    const got = await client.at('GET', pushed.headers.location ?? '')
    expect([got.status, got.body.equals(bytes)]).toEqual([200, true])
    const head = await client.send('HEAD', `blobs/${digest}`)
    expect(head).toMatchObject({ status: 200, headers: { 'content-length': `${bytes.length}` } })
  })

  it('a single POST', async () => {
    const { client } = await setUp()
    const pushed = await client.send('POST', withDigest('blobs/uploads/', digestOf(small)), small)
    expect(pushed.status).toBe(201)
    expect((await client.at('GET', pushed.headers.location ?? '')).body.equals(Buffer.from(small))).toBe(true)
  })

  it('streamed, of a length that nobody knows before', async () => {
    const { client } = await setUp()
    const location = await client.begin()
    const pieces = Readable.from([large.subarray(0, 700_000), large.subarray(700_000)])
    const patched = await client.at('PATCH', location, pieces)
    expect(patched).toMatchObject({ status: 202, headers: { range: `0-${large.length - 1}` } })
    expect((await client.finish(patched.headers.location ?? '', digestOf(large))).status).toBe(201)
    expect((await client.send('HEAD', `blobs/${digestOf(large)}`)).status).toBe(200)
  })

  it.each([
    ['PUT without a body', 3],
    ['the last chunk in the PUT', 2],
  ])('in chunks, then %s', async (_how, patches) => {
    const { client } = await setUp()
    let location = await client.begin()
    const size = Math.ceil(large.length / 3)
    const rangeOf = (index: number) => ({
      'content-range': `${index * size}-${Math.min(large.length, (index + 1) * size) - 1}`,
    })
    for (let index = 0; index < patches; index++) {
      const chunk = large.subarray(index * size, (index + 1) * size)
      const patched = await client.at('PATCH', location, chunk, rangeOf(index))
      expect(patched).toMatchObject({
        status: 202,
        headers: { range: `0-${Math.min(large.length, (index + 1) * size) - 1}` },
      })
      location = patched.headers.location ?? ''
    }
    const last = large.subarray(patches * size)
    const done = last.length === 0 ? {} : rangeOf(patches)
    expect((await client.finish(location, digestOf(large), last, done)).status).toBe(201)
    expect((await client.send('GET', `blobs/${digestOf(large)}`)).body.equals(Buffer.from(large))).toBe(true)
  })

  it('goes on after a chunk out of order', async () => {
    const { client } = await setUp()
    const location = await client.begin()
    const first = { 'content-range': '0-999' }
    expect((await client.at('PATCH', location, small.subarray(0, 1000), first)).status).toBe(202)
    for (const [method, range, bytes] of [
      ['PATCH', '2000-2999', small.subarray(2000)],
      ['PATCH', '0-999', small.subarray(0, 1000)],
      ['PUT', '2000-2999', small.subarray(2000)],
    ] as const) {
      const at = method === 'PUT' ? withDigest(location, digestOf(small)) : location
      const refused = await client.at(method, at, bytes, { 'content-range': range })
      expect([refused.status, codeOf(refused), refused.headers.range]).toEqual([416, 'RANGE_INVALID', '0-999'])
    }
    const status = await client.at('GET', location)
    expect(status).toMatchObject({ status: 204, headers: { range: '0-999' } })
    const rest = { 'content-range': '1000-2999' }
    const goesOn = await client.at('PATCH', status.headers.location ?? '', small.subarray(1000), rest)
    expect((await client.finish(goesOn.headers.location ?? '', digestOf(small))).status).toBe(201)
  })

  it('is cancelled', async () => {
    const { client } = await setUp()
    const location = await client.begin()
    expect((await client.at('PATCH', location, small)).status).toBe(202)
    expect((await client.at('DELETE', location)).status).toBe(204)
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      const gone = await client.at(method, method === 'PUT' ? withDigest(location, digestOf(small)) : location)
      expect([gone.status, codeOf(gone)], method).toEqual([404, 'BLOB_UPLOAD_UNKNOWN'])
    }
  })

  it('mounts one of another repository, named or not', async () => {
    const { client, other } = await setUp()
    await other.pushBlob(small)
    const digest = digestOf(small)
    const missing = await client.send('POST', `blobs/uploads/?mount=${digestOf(large)}&from=team/other`)
    expect(missing).toMatchObject({ status: 202, headers: { location: expect.stringContaining('/blobs/uploads/') } })
    const wrong = await client.send('POST', `blobs/uploads/?mount=${digest}&from=Not/A/Name`)
    expect(wrong.status).toBe(202)
    const mounted = await client.send('POST', `blobs/uploads/?mount=${digest}&from=team/other`)
    expect(mounted).toMatchObject({ status: 201, headers: { location: `/v2/team/app/blobs/${digest}` } })
    const third = new RegistryClient(client.url, 'team/third')
    expect((await third.send('POST', `blobs/uploads/?mount=${digest}`)).status).toBe(201)
    // Each has it for itself.
    expect((await other.send('DELETE', `blobs/${digest}`)).status).toBe(202)
    expect((await other.send('GET', `blobs/${digest}`)).status).toBe(404)
    for (const one of [client, third]) expect((await one.send('GET', `blobs/${digest}`)).status).toBe(200)
  })
})

describe('a blob that is not what it is said to be', () => {
  const wrong = digestOf(Buffer.from('something else'))

  it.each(['POST', 'PUT', 'PATCH and PUT'])('is refused at %s, and is not there', async (how) => {
    const { client } = await setUp()
    const send = async () => {
      if (how === 'POST') return await client.send('POST', withDigest('blobs/uploads/', wrong), small)
      const location = await client.begin()
      if (how === 'PATCH and PUT') await client.at('PATCH', location, small)
      return await client.finish(location, wrong, how === 'PUT' ? small : undefined)
    }
    const refused = await send()
    expect([refused.status, codeOf(refused)]).toEqual([400, 'DIGEST_INVALID'])
    for (const digest of [wrong, digestOf(small)])
      expect((await client.send('HEAD', `blobs/${digest}`)).status).toBe(404)
  })

  it.each([
    ['no digest', '', {}, small, 400, 'DIGEST_INVALID'],
    ['a digest that is none', 'sha256:abc', {}, small, 400, 'DIGEST_INVALID'],
    ['a range that is none', digestOf(small), { 'content-range': 'some' }, small, 416, 'RANGE_INVALID'],
    ['a range that is not of the length', digestOf(small), { 'content-range': '0-9' }, small, 400, 'SIZE_INVALID'],
    [
      'a range that is longer than the body',
      digestOf(small),
      { 'content-range': '0-9999' },
      Readable.from([small]),
      400,
      'SIZE_INVALID',
    ],
  ])('%s is refused, and the upload goes on', async (_what, digest, headers, body, status, code) => {
    const { client } = await setUp()
    const location = await client.begin()
    const address = digest === '' ? location : withDigest(location, digest)
    const refused = await client.at('PUT', address, body, headers)
    expect([refused.status, codeOf(refused)]).toEqual([status, code])
    const { headers: state } = await client.at('GET', location)
    // What came of a body that is too short is there.
    const rest = state.range === '0-0' ? small : Buffer.alloc(0)
    expect((await client.finish(location, digestOf(small), rest)).status).toBe(201)
  })

  it('is refused in a single POST that does not begin at its beginning', async () => {
    const { client } = await setUp()
    const range = { 'content-range': `10-${small.length + 9}` }
    const refused = await client.send('POST', withDigest('blobs/uploads/', digestOf(small)), small, range)
    expect([refused.status, codeOf(refused)]).toEqual([416, 'RANGE_INVALID'])
  })

  it('is no upload of another repository', async () => {
    const { client, other } = await setUp()
    const location = await client.begin()
    const id = location.split('/').at(-1)
    const refused = await other.send('PATCH', `blobs/uploads/${id}`, small)
    expect([refused.status, codeOf(refused)]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN'])
  })
})

describe('pushing a manifest', () => {
  it('by tag, and by digest with tags', async () => {
    const { client } = await setUp()
    const image = testImage([small])
    for (const blob of image.blobs) await client.pushBlob(blob)
    const pushed = await client.putManifest('v1', image.manifest)
    expect(pushed).toMatchObject({ status: 201, headers: { 'docker-content-digest': image.digest } })
    expect((await client.at('GET', pushed.headers.location ?? '')).body.equals(image.manifest)).toBe(true)
    const alg = sha512(image.manifest)
    const tagged = await client.send('PUT', `manifests/${alg}?tag=a&tag=b`, image.manifest, {
      'content-type': ociManifest,
    })
    expect(tagged).toMatchObject({ status: 201, headers: { 'docker-content-digest': alg, 'oci-tag': 'a, b' } })
    for (const reference of ['v1', 'a', image.digest, alg]) {
      for (const method of ['GET', 'HEAD']) {
        const got = await client.send(method, `manifests/${reference}`)
        const { 'docker-content-digest': digest, 'content-type': type, 'content-length': length } = got.headers
        const expected = reference === 'a' || reference === alg ? alg : image.digest
        expect([got.status, digest, type, length]).toEqual([200, expected, ociManifest, `${image.manifest.length}`])
      }
    }
  })

  it('takes an index, when its manifests are there', async () => {
    const { client } = await setUp()
    const image = testImage([small])
    const index = manifestOf({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [descriptorOf(image.manifest, ociManifest)],
    })
    const early = await client.putManifest('all', index, ociIndex)
    expect([early.status, codeOf(early)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN'])
    await client.push(image, image.digest)
    expect((await client.putManifest('all', index, ociIndex)).status).toBe(201)
    expect(await client.pull(image, image.digest)).toEqual(digestsOf(image))
  })

  it('takes an index of blobs, as BuildKit has for its cache, when they are there', async () => {
    const { client } = await setUp()
    const config = Buffer.from('{"layers":[]}')
    const index = manifestOf({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [
        descriptorOf(small, 'application/vnd.oci.image.layer.v1.tar+gzip'),
        descriptorOf(config, 'application/vnd.buildkit.cacheconfig.v0'),
      ],
    })
    await client.pushBlob(small)
    const early = await client.putManifest('cache', index, ociIndex)
    expect([early.status, codeOf(early)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN'])
    expect(JSON.parse(early.body.toString()).errors[0].detail).toEqual([{ digest: digestOf(config) }])
    await client.pushBlob(config)
    expect((await client.putManifest('cache', index, ociIndex)).status).toBe(201)
    // What is asked for as a manifest has to be one.
    const image = testImage([])
    const ofImage = manifestOf({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [descriptorOf(image.manifest, ociManifest)],
    })
    await client.pushBlob(image.manifest)
    expect((await client.putManifest('all', ofImage, ociIndex)).status).toBe(404)
  })

  it('says what a manifest lacks that names no type', async () => {
    const { client } = await setUp()
    for (const [type, text] of [
      ['application/json', 'application/json is not the media type of a manifest'],
      [undefined, 'nothing says its media type'],
    ] as const) {
      const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
      const refused = await client.send('PUT', 'manifests/v1', Buffer.from('{}'), headers)
      expect([refused.status, codeOf(refused)]).toEqual([400, 'MANIFEST_INVALID'])
      expect(refused.body.toString()).toContain(text)
    }
  })

  it('takes a bounded number of long ones at once, and short ones meanwhile', async () => {
    const { client } = await setUp()
    const { hostname, port } = new URL(client.url)
    const begin = () => {
      const headers = { ...localhost(client.url), expect: '100-continue', 'content-length': 2 ** 21 }
      const outgoing = request({
        hostname,
        port,
        path: '/v2/team/app/manifests/long',
        method: 'PUT',
        headers,
        agent: false,
      })
      outgoing.on('error', () => {})
      outgoing.flushHeaders()
      const state = { outgoing, isWanted: false, wanted: once(outgoing, 'continue') }
      outgoing.once('continue', () => {
        state.isWanted = true
      })
      return state
    }
    const taken = Array.from({ length: 8 }, begin)
    await Promise.all(taken.map(({ wanted }) => wanted))
    const waiting = begin()
    for (let round = 0; round < 3; round++) await client.push(testImage([small]), 'short')
    expect(waiting.isWanted).toBe(false)
    taken[0]?.outgoing.destroy()
    await waiting.wanted
    for (const { outgoing } of [...taken, waiting]) outgoing.destroy()
  })

  it('names each blob that is missing', async () => {
    const { client } = await setUp()
    const image = testImage([small, large])
    await client.pushBlob(image.blobs[1] ?? small)
    const refused = await client.putManifest('v1', image.manifest)
    expect([refused.status, codeOf(refused)]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN'])
    const missing = [image.blobs[0], large].map((blob) => ({ digest: digestOf(blob ?? small) }))
    expect(JSON.parse(refused.body.toString()).errors[0].detail).toEqual(missing)
    expect((await client.send('GET', 'manifests/v1')).status).toBe(404)
  })

  it.each([
    ['no JSON', Buffer.from('no'), ociManifest, 400, 'MANIFEST_INVALID'],
    ['a list', Buffer.from('[]'), ociManifest, 400, 'MANIFEST_INVALID'],
    ['another type than it says', testImage([]).manifest, ociIndex, 400, 'MANIFEST_INVALID'],
    [
      'no config',
      manifestOf({ schemaVersion: 2, mediaType: ociManifest, layers: [] }),
      ociManifest,
      400,
      'MANIFEST_INVALID',
    ],
    [
      'schema 1',
      manifestOf({ schemaVersion: 1 }),
      'application/vnd.docker.distribution.manifest.v1+json',
      400,
      'MANIFEST_INVALID',
    ],
    ['an image and an index', testImage([], { manifests: [] }).manifest, ociManifest, 400, 'MANIFEST_INVALID'],
    [
      'a digest that is none',
      testImage([], { layers: [{ digest: 'x', size: 1 }] }).manifest,
      ociManifest,
      400,
      'MANIFEST_INVALID',
    ],
    [
      'a size that is none',
      testImage([], { layers: [{ digest: digestOf(small), size: -1 }] }).manifest,
      ociManifest,
      400,
      'MANIFEST_INVALID',
    ],
    ['too long', Buffer.alloc(17 * 2 ** 20, 32), ociManifest, 413, 'SIZE_INVALID'],
    ['too long, streamed', Readable.from([Buffer.alloc(17 * 2 ** 20, 32)]), ociManifest, 413, 'SIZE_INVALID'],
  ])('refuses %s', async (_what, body, type, status, code) => {
    const { client } = await setUp()
    const refused = await client.send('PUT', 'manifests/v1', body, { 'content-type': type })
    expect([refused.status, codeOf(refused)]).toEqual([status, code])
    expect((await client.send('GET', 'manifests/v1')).status).toBe(404)
  })

  it.each([
    ['-bad', 400, 'MANIFEST_INVALID'],
    ['a'.repeat(129), 400, 'MANIFEST_INVALID'],
    ['sha256:short', 400, 'DIGEST_INVALID'],
    [digestOf(small), 400, 'DIGEST_INVALID'],
  ])('refuses the reference %.20s', async (reference, status, code) => {
    const { client } = await setUp()
    const refused = await client.putManifest(reference, testImage([]).manifest)
    expect([refused.status, codeOf(refused)]).toEqual([status, code])
  })

  it('refuses a blob of another size than it says', async () => {
    const { client } = await setUp()
    const layer = { ...descriptorOf(small, 'application/vnd.oci.image.layer.v1.tar'), size: small.length + 1 }
    const image = testImage([small], { layers: [layer] })
    for (const blob of image.blobs) await client.pushBlob(blob)
    const refused = await client.putManifest('v1', image.manifest)
    expect([refused.status, codeOf(refused)]).toEqual([400, 'MANIFEST_INVALID'])
  })

  it('does not ask for layers that are to be had elsewhere', async () => {
    const { client } = await setUp()
    const foreign = {
      ...descriptorOf(small, 'application/vnd.oci.image.layer.v1.tar'),
      urls: ['https://example.com/x'],
    }
    const image = testImage([], { layers: [foreign] })
    await client.push(image, 'v1')
    expect(await client.pull(image, 'v1')).toEqual(digestsOf(image))
  })
})

describe('listing tags', () => {
  it('is sorted, in pages', async () => {
    const { client } = await setUp()
    const image = testImage([])
    const tags = ['b', 'a', 'C', 'd', 'v1.0', 'v1']
    for (const tag of tags) await client.push(image, tag)
    const list = async (query: string) => {
      const got = await client.send('GET', `tags/list${query}`)
      return { tags: JSON.parse(got.body.toString()).tags, link: got.headers.link }
    }
    const sorted = ['C', 'a', 'b', 'd', 'v1', 'v1.0']
    expect(await list('')).toEqual({ tags: sorted, link: undefined })
    expect(await list('?last=b')).toEqual({ tags: ['d', 'v1', 'v1.0'], link: undefined })
    expect(await list('?last=between')).toEqual({ tags: ['d', 'v1', 'v1.0'], link: undefined })
    expect(await list('?n=0')).toEqual({ tags: [], link: undefined })
    const link = '</v2/team/app/tags/list?n=4&last=d>; rel="next"'
    expect(await list('?n=4')).toEqual({ tags: sorted.slice(0, 4), link })
    expect(await list('?n=4&last=d')).toEqual({ tags: ['v1', 'v1.0'], link: undefined })
    expect(await list('?n=6')).toEqual({ tags: sorted, link: undefined })
    expect((await client.send('GET', 'tags/list?n=many')).status).toBe(400)
  })

  it('knows no repository to which nothing was pushed', async () => {
    const { client } = await setUp()
    const got = await client.send('GET', 'tags/list')
    expect([got.status, codeOf(got)]).toEqual([404, 'NAME_UNKNOWN'])
  })

  it('lists repositories, in pages', async () => {
    const { client, other } = await setUp()
    const hidden = new RegistryClient(client.url, 'localhost/library/alpine')
    // An upload alone makes no repository that anybody could pull from.
    await new RegistryClient(client.url, 'team/none').begin()
    for (const one of [client, other, hidden]) await one.pushBlob(small)
    const list = async (query: string) => {
      const { body, headers } = await client.at('GET', `/v2/_catalog${query}`)
      return [JSON.parse(body.toString()).repositories, headers.link]
    }
    expect(await list('')).toEqual([['localhost/library/alpine', 'team/app', 'team/other'], undefined])
    const link = '</v2/_catalog?n=2&last=team%2Fapp>; rel="next"'
    expect(await list('?n=2')).toEqual([['localhost/library/alpine', 'team/app'], link])
    expect(await list('?n=2&last=team%2Fapp')).toEqual([['team/other'], undefined])
  })
})

describe('listing referrers', () => {
  const list = async (client: RegistryClient, digest: Digest, query = '') => {
    const got = await client.send('GET', `referrers/${digest}${query}`)
    return { ...got, index: got.status === 200 ? JSON.parse(got.body.toString()) : undefined }
  }

  it('has what names its subject, before and after that is pushed, and what was deleted no more', async () => {
    const { client } = await setUp()
    const image = testImage([small])
    const subject = descriptorOf(image.manifest, ociManifest)
    const sbom = testImage([], { subject, artifactType: 'application/sbom', annotations: { made: 'here' } })
    const signature = testImage([], { subject })
    const index = manifestOf({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [],
      subject,
      artifactType: 'application/many',
    })
    expect((await list(client, image.digest)).index).toMatchObject({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [],
    })
    for (const blob of sbom.blobs) await client.pushBlob(blob)
    const pushed = await client.putManifest(sbom.digest, sbom.manifest)
    expect(pushed.headers['oci-subject']).toBe(image.digest)
    await client.push(image, 'v1')
    await client.push(signature, 'signature')
    await client.putManifest('index', index, ociIndex)
    const all = await list(client, image.digest)
    expect([all.status, all.headers['content-type']]).toEqual([200, ociIndex])
    const bySbom = {
      ...descriptorOf(sbom.manifest, ociManifest),
      artifactType: 'application/sbom',
      annotations: { made: 'here' },
    }
    // An image has the type of its configuration.
    const bySignature = {
      ...descriptorOf(signature.manifest, ociManifest),
      artifactType: 'application/vnd.oci.image.config.v1+json',
    }
    const byIndex = { ...descriptorOf(index, ociIndex), artifactType: 'application/many' }
    expect(all.index.manifests).toEqual(expect.arrayContaining([bySbom, bySignature, byIndex]))
    expect(all.index.manifests).toHaveLength(3)
    const filtered = await list(client, image.digest, '?artifactType=application/sbom')
    expect([filtered.index.manifests, filtered.headers['oci-filters-applied']]).toEqual([[bySbom], 'artifactType'])
    expect((await list(client, image.digest, '?artifactType=no/such')).index.manifests).toEqual([])
    await client.send('DELETE', `manifests/${sbom.digest}`)
    expect((await list(client, image.digest)).index.manifests).toHaveLength(2)
    expect((await client.send('GET', 'referrers/latest')).status).toBe(400)
  })

  it('comes in pages where it is long', async () => {
    const { client } = await setUp()
    const subject = descriptorOf(testImage([]).manifest, ociManifest)
    const digests: Digest[] = []
    for (let index = 0; index < 5; index++) {
      const image = testImage([], { subject, annotations: { long: `${index}`.repeat(900_000) } })
      await client.push(image, image.digest)
      digests.push(image.digest)
    }
    const found: Digest[] = []
    let pages = 0
    for (let query: string | undefined = ''; query !== undefined; pages++) {
      const { index, headers } = await list(client, subject.digest, query)
      found.push(...index.manifests.map((one: { digest: Digest }) => one.digest))
      query = /\/referrers\/[^?]*(\?[^>]*)>/.exec(headers.link ?? '')?.[1]
    }
    expect([pages, found]).toEqual([2, digests.sort()])
  })
})

describe('deleting', () => {
  it('a tag leaves its manifest; a manifest takes its tags; blobs stay until they are deleted', async () => {
    const { client } = await setUp()
    const image = testImage([small])
    for (const tag of ['a', 'b', 'c']) await client.push(image, tag)
    expect((await client.send('DELETE', 'manifests/a')).status).toBe(202)
    expect((await client.send('GET', 'manifests/a')).status).toBe(404)
    for (const reference of ['b', image.digest])
      expect((await client.send('HEAD', `manifests/${reference}`)).status).toBe(200)
    expect((await client.send('DELETE', `manifests/${image.digest}`)).status).toBe(202)
    for (const reference of ['b', 'c', image.digest])
      expect((await client.send('HEAD', `manifests/${reference}`)).status).toBe(404)
    expect(JSON.parse((await client.send('GET', 'tags/list')).body.toString()).tags).toEqual([])
    for (const blob of image.blobs) {
      const path = `blobs/${digestOf(blob)}`
      expect((await client.send('HEAD', path)).status).toBe(200)
      expect((await client.send('DELETE', path)).status).toBe(202)
      expect((await client.send('GET', path)).status).toBe(404)
    }
  })

  it.each([
    ['manifests/none', 'MANIFEST_UNKNOWN'],
    [`manifests/${digestOf(small)}`, 'MANIFEST_UNKNOWN'],
    [`blobs/${digestOf(small)}`, 'BLOB_UNKNOWN'],
  ])('%s, which is not there, is unknown', async (path, code) => {
    const { client } = await setUp()
    const got = await client.send('DELETE', path)
    expect([got.status, codeOf(got)]).toEqual([404, code])
  })
})
