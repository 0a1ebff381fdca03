import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'

const mebibyte = 1024 * 1024
const ociManifest = 'application/vnd.oci.image.manifest.v1+json'

/** A manifest of exactly so many bytes, as one with long annotations is. */
function manifestOf(bytes: number): Buffer {
  const text = (padding: number) =>
    JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, layers: [], annotations: { a: ' '.repeat(padding) } })
  return Buffer.from(text(bytes - text(0).length))
}

/** An upstream with a manifest of so many bytes, and two nodes that know each other. */
async function setUp(bytes: number) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const registries = { 'docker.io': upstream.url }
  const a = await startTestNode({ registries })
  const b = await startTestNode({ registries, seeds: [a] })
  await untilConnected(a, b)
  const manifest = manifestOf(bytes)
  const digest = upstream.addManifest(manifest)
  upstream.addBlob(manifest)
  upstream.tag('library/app', 'latest', digest)
  return { upstream, a, b, digest }
}

const untilAnnounced = (node: TestNode) =>
  until(async () => {
    const { store, provided, provideQueue } = await node.status()
    return store.blobs === 1 && provided === 1 && provideQueue === 0
  })

describe('a manifest of 5 MiB', () => {
  it('is had from upstream, from the store and from a peer', async () => {
    const { upstream, a, b, digest } = await setUp(5 * mebibyte)
    for (const reference of ['latest', digest]) {
      const got = await ask(a.url, `/v2/app/manifests/${reference}`)
      expect(got).toMatchObject({ status: 200, complete: true, headers: { 'content-type': ociManifest } })
      expect(digestOf(got.body)).toBe(digest)
    }
    await untilAnnounced(a)
    await upstream.close()
    expect(digestOf((await ask(b.url, `/v2/app/manifests/${digest}`)).body)).toBe(digest)
  })
})

describe('a manifest of 17 MiB', () => {
  const bytes = 17 * mebibyte
  const refusal = `a manifest may have 16777216 bytes (16 MiB) here, and this one has ${bytes} bytes`

  async function expectRefusal(node: TestNode, reference: string): Promise<void> {
    const got = await ask(node.url, `/v2/app/manifests/${reference}`)
    expect(got.status).toBe(503)
    const { errors } = JSON.parse(got.body.toString())
    expect(errors).toMatchObject([{ code: 'UNAVAILABLE', message: expect.stringContaining(refusal) }])
  }

  it('is refused with the reason, by tag and digest', async () => {
    const { a, digest } = await setUp(bytes)
    await expectRefusal(a, 'latest')
    await expectRefusal(a, digest)
  })

  it('is refused with the reason where the store or a peer has it, as a blob may be that long', async () => {
    const { upstream, a, b, digest } = await setUp(bytes)
    expect(await ask(a.url, `/v2/app/blobs/${digest}`)).toMatchObject({ status: 200, complete: true })
    await untilAnnounced(a)
    await upstream.close()
    await expectRefusal(a, digest)
    await expectRefusal(b, digest)
    expect((await ask(b.url, `/v2/app/blobs/${digest}`)).status).toBe(200)
  })
})
