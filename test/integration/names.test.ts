import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, type TestNodeOptions, until, untilConnected } from '../fixtures/node.ts'
import {
  codeOf,
  descriptorOf,
  digestsOf,
  manifestOf,
  ociIndex,
  ociManifest,
  RegistryClient,
  testImage,
} from '../fixtures/registry-client.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const image = testImage([pseudoRandomBytes(3_000_000, 'a'), pseudoRandomBytes(700_000, 'b')])
const other = testImage([pseudoRandomBytes(500_000, 'c')])

/** A member, as it is without more configuration: what is pushed is for members, and public nowhere. */
const closed = async (seeds: readonly TestNode[] = [], { config = {}, ...options }: TestNodeOptions = {}) => {
  const repositories = { public: [], ...config.repositories }
  return await startTestNode({ isClosed: true, seeds, ...options, config: { ...config, repositories } })
}

const client = (node: TestNode, name = 'app') => new RegistryClient(node.url, name)

/** What a node says that a tag is; undefined where it says no. */
async function tagAt(node: TestNode, tag: string, name = 'app'): Promise<unknown> {
  const { status, headers } = await client(node, name).send('HEAD', `manifests/${tag}`)
  return status === 200 ? headers['docker-content-digest'] : undefined
}

const tagsAt = async (node: TestNode, name = 'app') => {
  const { status, body } = await client(node, name).send('GET', 'tags/list')
  return status === 200 ? JSON.parse(body.toString()).tags : status
}

describe('a name in a closed swarm', () => {
  it('is pulled from the node that pushed it, then from one that pulled it when that one is off', async () => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await until(async () => (await tagAt(b, '1')) === image.digest)
    expect(await client(b).pull(image, '1')).toEqual(digestsOf(image))
    const c = await closed([b])
    await untilConnected(b, c)
    await until(async () => (await b.status()).store.blobs === 4)
    await a.stop()
    await until(async () => (await tagAt(c, '1')) === image.digest)
    expect(await client(c).pull(image, '1')).toEqual(digestsOf(image))
    // What it did not push gives way to other content.
    expect((await c.status()).store.keptBytes).toBe(0)
    expect(await tagsAt(c)).toEqual(['1'])
    const catalog = JSON.parse((await ask(c.url, '/v2/_catalog')).body.toString())
    expect(catalog).toEqual({ repositories: ['app'] })
  })

  it('is what was pushed last, on all nodes, and gone when it is deleted on one', async () => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await client(a).push(image, 'kept')
    await until(async () => (await tagAt(b, 'kept')) === image.digest)
    await client(b).push(other, '1')
    await until(async () => (await tagAt(a, '1')) === other.digest)
    expect(await client(a).pull(other, '1')).toEqual(digestsOf(other))
    const deleted = await client(a).send('DELETE', 'manifests/1')
    expect(deleted.status).toBe(202)
    await until(async () => (await tagAt(b, '1')) === undefined)
    expect([await tagsAt(a), await tagsAt(b)]).toEqual([['kept'], ['kept']])
    // All tags of a manifest go with it.
    expect((await client(a).send('DELETE', `manifests/${image.digest}`)).status).toBe(202)
    await until(async () => (await tagAt(b, 'kept')) === undefined)
    expect(codeOf(await client(b).send('GET', 'manifests/kept'))).toBe('MANIFEST_UNKNOWN')
  })

  it('that two nodes pushed before they met is a conflict, which is shown, and settled by the next push', async () => {
    const a = await closed()
    const b = await closed()
    await client(a).push(image, '1')
    await client(b).push(other, '1')
    const c = await closed([a, b])
    await untilConnected(c, a, b)
    const conflictOf = async (node: TestNode) => (await node.status()).names.conflicts[0]
    for (const node of [a, b, c]) await until(async () => (await conflictOf(node)) !== undefined)
    const tags = await Promise.all([a, b, c].map((node) => tagAt(node, '1')))
    expect(new Set(tags).size).toBe(1)
    for (const node of [a, b, c]) {
      const { headers } = await client(node).send('GET', 'manifests/1')
      expect(headers.warning).toMatch(
        /^299 - "several peers have pushed app:1, and the first of these is used: sha256:/,
      )
      expect(node.log.some(({ msg }) => `${msg}`.startsWith('several peers have pushed different images'))).toBe(true)
    }
    await client(a).push(image, '1')
    for (const node of [a, b, c]) await until(async () => (await tagAt(node, '1')) === image.digest)
    expect((await client(c).send('GET', 'manifests/1')).headers.warning).toBeUndefined()
    expect(await conflictOf(c)).toBeUndefined()
  })

  it('is known after a restart, without the node that pushed it', async () => {
    const a = await closed()
    const dataDir = await tempDir()
    const b = await closed([a], { dataDir })
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await client(a).push(other, '2')
    await until(async () => `${await tagsAt(b)}` === '1,2')
    expect(await client(b).pull(image, '1')).toEqual(digestsOf(image))
    await until(async () => (await b.status()).store.blobs === 4)
    await a.stop()
    await b.stop()
    const again = await closed([], { dataDir })
    expect(await client(again).pull(image, '1')).toEqual(digestsOf(image))
    expect(await tagsAt(again)).toEqual(['1', '2'])
    // What nobody has who is there is told so, by whom it could be had.
    const missing = await client(again).send('GET', 'manifests/2')
    expect([missing.status, missing.body.toString()]).toEqual([
      503,
      expect.stringMatching(/no peer that is connected.*app:2/),
    ])
    expect((await again.status()).names).toMatchObject({ names: 2, conflicts: [], offers: [] })
  })

  it('has the referrers that any node has pushed, with their annotations', async () => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    const subject = { mediaType: ociManifest, digest: image.digest, size: image.manifest.length }
    const sbom = testImage([Buffer.from('sbom')], {
      artifactType: 'example/sbom',
      subject,
      annotations: { by: 'a' },
    })
    const signature = testImage([Buffer.from('signature')], { artifactType: 'example/signature', subject })
    await client(a).push(sbom, sbom.digest)
    await client(b).push(signature, signature.digest)
    const referrersAt = async (node: TestNode, query = '') => {
      const { body } = await client(node).send('GET', `referrers/${image.digest}${query}`)
      const { manifests } = JSON.parse(body.toString())
      return manifests.map(({ artifactType, annotations = {} }: Record<string, unknown>) => [artifactType, annotations])
    }
    const all = [
      ['example/sbom', { by: 'a' }],
      ['example/signature', {}],
    ]
    for (const node of [a, b]) await until(async () => (await referrersAt(node)).length === 2)
    for (const node of [a, b]) expect((await referrersAt(node)).toSorted()).toEqual(all)
    expect(await referrersAt(b, '?artifactType=example/sbom')).toEqual([all[0]])
    expect(await client(b).pull(sbom, sbom.digest)).toEqual(digestsOf(sbom))
    expect(await tagsAt(b)).toEqual(['1'])
    await client(a).send('DELETE', `manifests/${sbom.digest}`)
    await until(async () => (await referrersAt(b)).length === 1)
  })

  it('can be built on by the next node, whose clients ask first what is there', async () => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await until(async () => (await tagAt(b, '1')) === image.digest)
    // containerd and others resolve a digest before they pull by it.
    const resolved = await client(b).send('HEAD', `manifests/${image.digest}`)
    const { 'content-length': length, 'content-type': type } = resolved.headers
    expect([resolved.status, length, type]).toEqual([200, `${image.manifest.length}`, ociManifest])
    // A blob that only peers have is not there for who pushes, and can be pulled all the same.
    const layer = image.blobs[1] ?? Buffer.alloc(0)
    expect((await client(b).send('HEAD', `blobs/${digestOf(layer)}`)).status).toBe(404)
    expect(await client(b).pull(image, '1')).toEqual(digestsOf(image))
    await until(async () => (await b.status()).store.blobs === 4)
    // Clients leave out what is there.
    const next = testImage([layer, Buffer.from('new layer')])
    for (const blob of next.blobs) {
      const held = await client(b).send('HEAD', `blobs/${digestOf(blob)}`)
      if (held.status !== 200) expect((await client(b).pushBlob(blob)).status).toBe(201)
    }
    expect((await client(b).putManifest('2', next.manifest)).status).toBe(201)
    const index = manifestOf({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [descriptorOf(image.manifest, ociManifest), descriptorOf(next.manifest, ociManifest)],
    })
    expect((await client(b).putManifest('all', index, ociIndex)).status).toBe(201)
    await until(async () => (await tagAt(a, 'all')) === digestOf(index))
    expect(await client(a).pull(next, '2')).toEqual(digestsOf(next))
  })
})

describe('a push of what a peer has pushed', () => {
  /** As containerd does: what is there already is not sent, and an answer that is neither 200 nor 404 ends the push. */
  const checked = async (node: TestNode, path: string, type: string) => {
    const { status, headers } = await client(node).send('HEAD', path, undefined, { accept: `${type}, */*` })
    expect([200, 404]).toContain(status)
    return status === 200 ? headers['docker-content-digest'] : undefined
  }

  const pushMissing = async (node: TestNode, reference: string, { blobs, manifest, digest } = image) => {
    for (const blob of blobs) {
      const path = `blobs/${digestOf(blob)}`
      if ((await checked(node, path, 'application/octet-stream')) !== undefined) continue
      expect((await client(node).pushBlob(blob)).status).toBe(201)
    }
    if ((await checked(node, `manifests/${reference}`, ociManifest)) === digest) return
    expect((await client(node).putManifest(reference, manifest)).status).toBe(201)
  }

  const imageSize = [image.manifest, ...image.blobs].reduce((sum, { length }) => sum + length, 0)

  it.each([
    ['is away', true],
    ['is here', false],
  ])('that %s is kept by the node that it is made to', async (_, isAway) => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await until(async () => `${await tagsAt(b)}` === '1')
    if (isAway) await a.stop()
    await pushMissing(b, '1')
    expect((await b.status()).store.keptBytes).toBe(imageSize)
    expect(await client(b).pull(image, '1')).toEqual(digestsOf(image))
  })

  it('is made also where the node has cached it, with the index that it belongs to', async () => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    const index = manifestOf({
      schemaVersion: 2,
      mediaType: ociIndex,
      manifests: [descriptorOf(image.manifest, ociManifest)],
    })
    await client(a).push(image, image.digest)
    await client(a).putManifest('all', index, ociIndex)
    await until(async () => `${await tagsAt(b)}` === 'all')
    expect(await client(b).pull(image, image.digest)).toEqual(digestsOf(image))
    await until(async () => (await b.status()).store.blobs === 4)
    await pushMissing(b, image.digest)
    expect(await checked(b, 'manifests/all', ociIndex)).toBeUndefined()
    expect((await client(b).putManifest('all', index, ociIndex)).status).toBe(201)
    expect((await b.status()).store.keptBytes).toBe(imageSize + index.length)
  })

  it.each([
    ['has nothing of it', false],
    ['has it in another repository', true],
  ])(
    'is kept whole by a node that %s, where its client leaves out what it was told of, as oras does',
    async (_, isCached) => {
      const a = await closed()
      const b = await closed([a])
      await untilConnected(a, b)
      const index = manifestOf({
        schemaVersion: 2,
        mediaType: ociIndex,
        manifests: [descriptorOf(image.manifest, ociManifest)],
      })
      await client(a).push(image, image.digest)
      await client(a).putManifest('all', index, ociIndex)
      await until(async () => `${await tagsAt(b)}` === 'all')
      if (isCached) {
        await client(a, 'other').push(image, '1')
        await until(async () => (await tagAt(b, '1', 'other')) === image.digest)
        expect(await client(b, 'other').pull(image, '1')).toEqual(digestsOf(image))
        await until(async () => (await b.status()).store.blobs === 4)
      }
      expect((await client(b).send('HEAD', `manifests/${digestOf(index)}`)).status).toBe(200)
      expect((await client(b).putManifest('mine', index, ociIndex)).status).toBe(201)
      expect((await b.status()).store.keptBytes).toBe(imageSize + index.length)
      await a.stop()
      expect(await client(b).pull(image, image.digest)).toEqual(digestsOf(image))
      const { manifest } = testImage([Buffer.from('nowhere')])
      expect(codeOf(await client(b).putManifest('none', manifest))).toBe('MANIFEST_BLOB_UNKNOWN')
    },
  )

  it('and is away may be of another image', async () => {
    const a = await closed()
    const b = await closed([a])
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await until(async () => `${await tagsAt(b)}` === '1')
    await a.stop()
    await pushMissing(b, '1', other)
    expect(await client(b).pull(other, '1')).toEqual(digestsOf(other))
  })
})

it('an image on a private base is for members by its name; the registry of the base says who may have that elsewhere', async () => {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.requireBearer({ accounts: { me: 'right' } })
  const base = pseudoRandomBytes(400_000, 'private base')
  const secret = upstream.addBlob(base)
  const registries = { 'docker.io': upstream.url }
  const a = await closed([], { registries })
  const b = await closed([a], { registries })
  await untilConnected(a, b)
  const ofBase = (node: TestNode, headers = {}) => ask(node.url, `/v2/docker.io/me/base/blobs/${secret}`, { headers })
  const authorization = `Basic ${Buffer.from('me:right').toString('base64')}`
  expect((await ofBase(a, { authorization })).complete).toBe(true)
  await until(async () => (await a.status()).store.blobs === 1)
  const built = testImage([base, Buffer.from('mine')])
  await client(a).push(built, '1')
  await until(async () => `${await tagsAt(b)}` === '1')
  expect(await client(b).pull(built, '1')).toEqual(digestsOf(built))
  await until(async () => (await b.status()).store.blobs === 4)
  expect((await ofBase(b)).status).not.toBe(200)
  expect(await client(b).pull(built, '1')).toEqual(digestsOf(built))
})

describe('a setting', () => {
  it('of this node keeps its pushes to itself, or some of them', async () => {
    const a = await closed([], { config: { registry: { offerPushes: 'never' } } })
    const b = await closed([a], { config: { repositories: { neverShare: ['localhost/secret/**'] } } })
    await untilConnected(a, b)
    await client(a).push(image, '1')
    await client(b, 'secret/app').push(other, '1')
    await client(b, 'open').push(other, '1')
    await until(async () => (await tagAt(a, '1', 'open')) === other.digest)
    expect([await tagAt(b, '1'), await tagAt(a, '1', 'secret/app')]).toEqual([undefined, undefined])
    expect((await a.status()).provided).toBe(0)
    expect((await client(b).send('GET', `blobs/${digestOf(image.blobs[1] ?? Buffer.alloc(0))}`)).status).toBe(404)
  })

  it('says who may publish what', async () => {
    const a = await closed()
    const b = await closed([a], { config: { registry: { publishers: ['members=team/**'] } } })
    const c = await closed([a], { config: { registry: { publishers: ['nobody'] } } })
    await untilConnected(a, b, c)
    await client(a).push(image, '1')
    await client(a, 'team/app').push(other, '1')
    await until(async () => (await tagAt(b, '1', 'team/app')) === other.digest)
    expect([await tagAt(b, '1'), await tagAt(c, '1', 'team/app')]).toEqual([undefined, undefined])
  })
})
