import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { indexOf } from '../fixtures/archives.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { eventsOf, exportedFiles } from '../fixtures/control.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until } from '../fixtures/node.ts'
import { ociIndex, ociManifest, RegistryClient, testImage } from '../fixtures/registry-client.ts'

// A client pulls one platform of an image, so that a node has its index and one of the manifests that it names.

const amd64 = testImage([pseudoRandomBytes(90_000, 'a'), pseudoRandomBytes(30_000, 'b')])
const arm64 = testImage([pseudoRandomBytes(30_000, 'b'), pseudoRandomBytes(20_000, 'c')])
const index = indexOf({ 'linux/amd64': amd64, 'linux/arm64/v8': arm64 })

async function setUp(config: Record<string, object> = {}) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  for (const image of [amd64, arm64]) {
    for (const blob of image.blobs) upstream.addBlob(blob)
    upstream.addManifest(image.manifest, ociManifest)
  }
  upstream.tag('library/app', '1', upstream.addManifest(index, ociIndex))
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config })
  return { upstream, node }
}

/** What `docker pull` asks for. */
async function pullByClient(node: TestNode): Promise<void> {
  const client = new RegistryClient(node.url, 'docker.io/library/app', {})
  await client.send('GET', 'manifests/1')
  await client.send('GET', `manifests/${amd64.digest}`)
  for (const blob of amd64.blobs) await client.send('GET', `blobs/${digestOf(blob)}`)
  await until(async () => (await node.status()).store.blobs === amd64.blobs.length + 2)
}

const blobsIn = (files: ReadonlyMap<string, Buffer>) =>
  [...files.keys()].flatMap((name) => (name.startsWith('blobs/') ? `sha256:${name.slice(13)}` : [])).sort()
const amd64Digests = [...amd64.blobs, amd64.manifest].map((bytes) => digestOf(bytes))

describe('an image of which a client has pulled one platform', () => {
  it('is exported, pulled and pinned for that platform while nobody can be asked for the others', async () => {
    const { node, upstream } = await setUp()
    await pullByClient(node)
    await upstream.close()
    const whole = await exportedFiles(node, { image: 'app:1' })
    expect(blobsIn(whole)).toEqual([...amd64Digests, digestOf(index)].sort())
    expect(JSON.parse(String(whole.get('index.json'))).manifests).toMatchObject([{ digest: digestOf(index) }])
    const one = await exportedFiles(node, { image: 'app:1', platform: 'linux/amd64' })
    expect(blobsIn(one)).toEqual([...amd64Digests].sort())
    for (const operation of ['pull', 'pin']) {
      const told = await eventsOf(node, operation, { image: 'app:1', platforms: ['linux/amd64'] })
      expect(told.at(-1), operation).toMatchObject({ platforms: ['linux/amd64'], fetchedBytes: 0, missing: [] })
      await expect(eventsOf(node, operation, { image: 'app:1' })).rejects.toThrow(
        /not all platforms of docker.io\/library\/app:1 can be had .*"--platform linux\/amd64" is what is here/,
      )
    }
    const none = eventsOf(node, 'pull', { image: 'app:1', platforms: ['linux/s390x'] })
    await expect(none).rejects.toThrow(/there is no linux\/s390x of it; there is linux\/amd64, linux\/arm64\/v8/)
  })

  it('is exported as it is here: nothing is fetched for it, unless no platform is whole', async () => {
    const { node, upstream } = await setUp()
    await pullByClient(node)
    expect(blobsIn(await exportedFiles(node, { image: 'app:1' }))).toEqual([...amd64Digests, digestOf(index)].sort())
    expect(upstream.seen(arm64.digest)).toEqual([])
    const { node: other } = await setUp()
    await new RegistryClient(other.url, 'docker.io/library/app', {}).send('GET', `manifests/${amd64.digest}`)
    expect(blobsIn(await exportedFiles(other, { image: 'app:1' }))).toEqual(
      [...new Set([amd64, arm64].flatMap(({ blobs, manifest }) => [...blobs, manifest]).map((one) => digestOf(one)))]
        .concat(digestOf(index))
        .sort(),
    )
  })

  it('has no manifest of another platform, and none is completed that was only looked at', async () => {
    const { node, upstream } = await setUp({ store: { completeRate: '1 GiB' } })
    for (const operation of ['pull', 'pin']) {
      await eventsOf(node, operation, { image: 'app:1', platforms: ['linux/arm64'] })
    }
    expect(upstream.seen(amd64.digest)).toEqual([])
    const client = new RegistryClient(node.url, 'docker.io/library/app', {})
    await client.send('GET', `manifests/${amd64.digest}`)
    await exportedFiles(node, { image: 'app:1' })
    // A client that pulls something else afterwards: what it lacks is fetched, and nothing before that.
    const later = testImage([pseudoRandomBytes(10_000, 'd'), pseudoRandomBytes(10_000, 'e')])
    for (const blob of later.blobs) upstream.addBlob(blob)
    upstream.addManifest(later.manifest, ociManifest)
    const other = new RegistryClient(node.url, 'docker.io/library/later', {})
    await other.send('GET', `manifests/${later.digest}`)
    await other.send('GET', `blobs/${digestOf(later.blobs[1] ?? Buffer.alloc(0))}`)
    await upstream.waitForRequest(digestOf(later.blobs[2] ?? Buffer.alloc(0)))
    expect(upstream.seen(digestOf(amd64.blobs[1] ?? Buffer.alloc(0)))).toEqual([])
  }, 120_000)
})
