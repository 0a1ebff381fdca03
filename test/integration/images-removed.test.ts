import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { BlobStore } from '../../daemon/store/blob-store.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { askNode, eventsOf } from '../fixtures/control.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode } from '../fixtures/node.ts'
import {
  manifestOf,
  ociIndex,
  ociManifest,
  RegistryClient,
  type TestImage,
  testImage,
} from '../fixtures/registry-client.ts'

const image = testImage([pseudoRandomBytes(90_000, 'a'), pseudoRandomBytes(30_000, 'b')])
const newer = testImage([pseudoRandomBytes(30_000, 'b'), pseudoRandomBytes(20_000, 'c')])
const first = 'docker.io/library/first'
const second = 'docker.io/library/second'

interface Listed {
  readonly name: string
  readonly isPinned: boolean
  readonly isComplete: boolean
}

async function setUp(): Promise<{ upstream: FakeUpstream; node: TestNode }> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  for (const one of [image, newer]) add(upstream, one)
  upstream.tag('library/first', '1', image.digest)
  upstream.tag('library/second', '1', image.digest)
  return { upstream, node: await startTestNode({ registries: { 'docker.io': upstream.url } }) }
}

function add(upstream: FakeUpstream, { blobs, manifest }: TestImage) {
  for (const blob of blobs) upstream.addBlob(blob)
  upstream.addManifest(manifest, ociManifest)
}

const listed = async (node: TestNode) => (await askNode<{ images: Listed[] }>(node, 'images')).images
const pull = (node: TestNode, name: string) => eventsOf(node, 'pull', { image: name })
const remove = (node: TestNode, name: string) =>
  askNode<{ blobs: number; bytes: number }>(node, 'remove', { image: name })

/** An hour and more goes by, after which gc takes what no manifest names. */
function passAnHour() {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3_700_000 })
  onTestFinished(() => void vi.useRealTimers())
}

describe('rm', () => {
  it('leaves the same image of another repository alone', async () => {
    const { node } = await setUp()
    await pull(node, 'first:1')
    await pull(node, 'second:1')
    expect(await remove(node, 'first:1')).toMatchObject({ blobs: 0 })
    expect(await listed(node)).toMatchObject([{ name: `${second}:1`, isComplete: true }])
    expect(await remove(node, 'second:1')).toMatchObject({ blobs: image.blobs.length + 1 })
    expect((await node.status()).store.blobs).toBe(0)
  })

  it('by digest takes no tag that is pinned', async () => {
    const { node } = await setUp()
    await eventsOf(node, 'pin', { image: 'first:1' })
    await expect(remove(node, `first@${image.digest}`)).rejects.toThrow(
      `is pinned: "layerd unpin ${first}:1" comes first`,
    )
    expect(await listed(node)).toMatchObject([{ name: `${first}:1`, isPinned: true }])
  })

  it('takes nothing that is used while it looks', async () => {
    const { node } = await setUp()
    await pull(node, 'first:1')
    const layer = digestOf(image.blobs[1] ?? Buffer.alloc(0))
    const { openUntouched } = BlobStore.prototype
    // The first read is of the manifest that is to go.
    vi.spyOn(BlobStore.prototype, 'openUntouched').mockImplementationOnce(async function (this: BlobStore, digest) {
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 1_000 })
      await (await this.openBlob(layer))?.close()
      return await Reflect.apply(openUntouched, this, [digest])
    })
    onTestFinished(() => {
      vi.restoreAllMocks()
      vi.useRealTimers()
    })
    expect(await remove(node, 'first:1')).toMatchObject({ blobs: image.blobs.length })
    expect((await node.status()).store.bytes).toBe(90_000)
  })
})

describe('a tag that has moved since it was pinned', () => {
  it('is shown as what it is: the old image is pinned, the new one may go', async () => {
    const { node, upstream } = await setUp()
    await eventsOf(node, 'pin', { image: 'first:1' })
    upstream.tag('library/first', '1', newer.digest)
    await askNode(node, 'refresh', { image: 'first:1' })
    await pull(node, 'first:1')
    expect(await listed(node)).toMatchObject([
      { name: `${first}:1`, isPinned: false },
      { name: `${first}@${image.digest}`, isPinned: true, isComplete: true },
    ])
    await expect(remove(node, `first@${image.digest}`)).rejects.toThrow(`"layerd unpin ${first}:1" comes first`)
    await remove(node, 'first:1')
    expect(await listed(node)).toMatchObject([{ name: `${first}@${image.digest}`, isComplete: true }])
    await askNode(node, 'unpin', { image: 'first:1' })
    await remove(node, `first@${image.digest}`)
    expect((await node.status()).store.blobs).toBe(0)
  })
})

describe('what manifests name', () => {
  const parts = [pseudoRandomBytes(40_000, 'x'), pseudoRandomBytes(50_000, 'y')]
  const [one = Buffer.alloc(0), two = Buffer.alloc(0)] = parts
  const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  const described = (bytes: Uint8Array, mediaType = layerType) => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  })
  const config = Buffer.from('{}')
  it.each<[string, Buffer, string]>([
    [
      'a cache of BuildKit',
      manifestOf({ schemaVersion: 2, mediaType: ociIndex, manifests: parts.map((part) => described(part)) }),
      ociIndex,
    ],
    [
      'schema 1 of Docker',
      manifestOf({ schemaVersion: 1, name: 'a', fsLayers: parts.map((part) => ({ blobSum: digestOf(part) })) }),
      'application/vnd.docker.distribution.manifest.v1+json',
    ],
    [
      'layers that are elsewhere as well',
      manifestOf({
        schemaVersion: 2,
        mediaType: ociManifest,
        config: described(config, 'application/vnd.oci.image.config.v1+json'),
        layers: [{ ...described(one), urls: ['https://elsewhere.example/'] }, described(two)],
      }),
      ociManifest,
    ],
  ])('is no garbage: %s', async (_, manifest, mediaType) => {
    const { node, upstream } = await setUp()
    for (const bytes of [...parts, config]) upstream.addBlob(bytes)
    upstream.tag('library/other', '1', upstream.addManifest(manifest, mediaType))
    const client = new RegistryClient(node.url, 'docker.io/library/other', {})
    expect((await client.send('GET', 'manifests/1')).status).toBe(200)
    for (const bytes of parts) expect((await client.send('GET', `blobs/${digestOf(bytes)}`)).status).toBe(200)
    await vi.waitFor(async () => expect((await node.status()).store.blobs).toBe(3), 30_000)
    passAnHour()
    expect(await askNode(node, 'collect', { isDry: false })).toMatchObject({ unnamed: { blobs: 0 } })
    expect((await node.status()).store.blobs).toBe(3)
  })

  it('is not guessed: where a manifest can not be read, nothing is removed', async () => {
    const { node } = await setUp()
    await pull(node, 'first:1')
    await pull(node, 'second:1')
    const fails = (digest: Digest) =>
      vi.spyOn(BlobStore.prototype, 'openUntouched').mockImplementation(async (asked) => {
        if (asked === digest) throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })
        return undefined
      })
    onTestFinished(() => void vi.restoreAllMocks())
    passAnHour()
    fails(image.digest)
    await expect(askNode(node, 'collect', { isDry: false })).rejects.toThrow(/nothing is removed: .*EMFILE/)
    await expect(remove(node, 'first:1')).rejects.toThrow(/nothing is removed: .*EMFILE/)
    vi.restoreAllMocks()
    expect(await listed(node)).toMatchObject([
      { name: `${first}:1`, isComplete: true },
      { name: `${second}:1`, isComplete: true },
    ])
  })
})

describe('an image that was pushed and has lost its tag to another', () => {
  it('is listed by its digest, but a signature is not', async () => {
    const { node } = await setUp()
    const client = new RegistryClient(node.url, 'own')
    await client.push(image, 'dev')
    const subject = { mediaType: ociManifest, digest: image.digest, size: image.manifest.length }
    const signature = testImage([pseudoRandomBytes(100, 'signature')], { subject })
    await client.push(signature, signature.digest)
    await client.push(newer, 'dev')
    expect(await listed(node)).toMatchObject([
      { name: 'localhost/own:dev', origin: 'pushed' },
      { name: `localhost/own@${image.digest}`, origin: 'pushed', isComplete: true },
    ])
  })
})
