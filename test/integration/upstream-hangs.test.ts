import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { atEnd } from '../fixtures/at-end.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, untilConnected } from '../fixtures/node.ts'

// An upstream that takes connections and answers nothing, with the deadlines that a node has by default. Nothing waits for a time-out
// twice: what only upstream could say is given up soon, once it is known that upstream says nothing at all.

/** Half of the 30 s after which containerd gives up on a mirror that has sent no headers. */
const SOON_MS = 15_000
const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const indexType = 'application/vnd.oci.image.index.v1+json'

async function startUpstream(): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  atEnd(() => upstream.close())
  return upstream
}

function addImage(upstream: FakeUpstream) {
  const blob = (name: string) => upstream.addBlob(pseudoRandomBytes(100_000, name))
  const manifest = (name: string) => {
    const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: blob(name), size: 100_000 }
    return upstream.addManifest({ schemaVersion: 2, mediaType: manifestType, config, layers: [] }, manifestType)
  }
  const [here, elsewhere] = [manifest('here'), manifest('elsewhere')]
  const entry = (digest: Digest) => ({ mediaType: manifestType, digest, size: 400 })
  const index = upstream.addManifest(
    { schemaVersion: 2, mediaType: indexType, manifests: [entry(here), entry(elsewhere)] },
    indexType,
  )
  upstream.tag('library/app', 'v1', index)
  return { index, here, elsewhere, config: blob('here'), other: blob('elsewhere') }
}

async function timed(base: string, path: string, method = 'GET') {
  const began = performance.now()
  const { status, body } = await ask(base, `/v2/library/app/${path}`, { method })
  return { status, body, ms: performance.now() - began }
}

describe.concurrent('an upstream that answers nothing', () => {
  it('is given up for what nobody has once it is known, whatever is asked for, and is back as soon as it answers', async () => {
    const upstream = await startUpstream()
    const image = addImage(upstream)
    const registries = { 'docker.io': upstream.url }
    const first = await startTestNode({ registries, isClosed: true })
    const second = await startTestNode({ registries, isClosed: true, seeds: [first] })
    await untilConnected(first, second)
    for (const path of ['manifests/v1', `manifests/${image.here}`, `blobs/${image.config}`])
      expect((await ask(first.url, `/v2/library/app/${path}`)).status).toBe(200)
    upstream.inject(/./, faults.hang())

    // As containerd pulls all platforms of which a peer has one.
    const began = performance.now()
    expect((await timed(second.url, 'manifests/v1', 'HEAD')).status).toBe(200)
    expect((await timed(second.url, `manifests/${image.here}`)).status).toBe(200)
    expect((await timed(second.url, `manifests/${image.elsewhere}`)).status).toBe(503)
    expect(performance.now() - began).toBeLessThan(SOON_MS)

    const asked = [
      ['GET', `manifests/${image.elsewhere}`],
      ['HEAD', `manifests/${image.elsewhere}`],
      ['GET', `blobs/${image.other}`],
      ['HEAD', `blobs/${image.other}`],
      ['GET', 'manifests/unknown'],
      ['HEAD', 'manifests/unknown'],
      ['GET', 'tags/list'],
      ['GET', `referrers/${image.here}`],
    ] as const
    const answers = await Promise.all(
      asked.map(async ([method, path]) => ({ method, path, ...(await timed(second.url, path, method)) })),
    )
    // Lists are answered from what is known of them.
    const isRight = (path: string, status: number) =>
      status === 503 || (/^(tags|referrers)/.test(path) && status === 200)
    expect(answers.filter(({ path, status, ms }) => !isRight(path, status) || ms > SOON_MS)).toEqual([])

    upstream.heal()
    // The question that waits was taken before; the next one is answered.
    expect(await timed(second.url, `blobs/${image.other}`)).toMatchObject({ status: 200 })
    expect((await timed(second.url, 'tags/list')).ms).toBeLessThan(5_000)
  })

  it('is waited for where its root answers, as content may come from elsewhere first', async () => {
    const upstream = await startUpstream()
    const { other } = addImage(upstream)
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    upstream.inject('HEAD', faults.hang())
    expect((await timed(node.url, `blobs/${other}`, 'HEAD')).status).toBe(503)
    // Longer than one that hangs is waited for.
    upstream.hold(
      'GET /v2/library/',
      upstream.waitForRequest('GET /v2/library/').then(() => delay(12_000)),
    )
    const { status, body } = await timed(node.url, `blobs/${other}`)
    expect([status, digestOf(body)]).toEqual([200, other])
    expect(upstream.seen('GET /v2/library/').length).toBe(1)
  })

  it('may be one that takes its time for everything: what was asked by HEAD in vain is waited for', async () => {
    const upstream = await startUpstream()
    const { index } = addImage(upstream)
    const node = await startTestNode({ registries: { 'docker.io': upstream.url } })
    upstream.hold('HEAD ', new Promise(() => {}))
    // All but HEAD are answered in the end.
    upstream.hold(
      'GET ',
      upstream.waitForRequest('GET /v2/library/').then(() => delay(9_000)),
    )
    const { status, body } = await timed(node.url, 'manifests/v1')
    expect([status, digestOf(body)]).toEqual([200, index])
  })

  it('may be a token service: it is waited for less when that is known', async () => {
    const upstream = await startUpstream()
    const { other } = addImage(upstream)
    upstream.requireBearer()
    upstream.inject('/token', faults.hang())
    const client = new TestClient(upstream, { upstream: { attempts: 1, responseTimeout: '12s' } })
    atEnd(() => client[Symbol.asyncDispose]())
    const wait = async () => {
      const began = performance.now()
      await expect(client.open(other)).rejects.toMatchObject({ code: 'unreachable' })
      return performance.now() - began
    }
    const [first, second] = [await wait(), await wait()]
    expect(second).toBeLessThan(first - 2_000)
    upstream.heal()
    expect(digestOf(await client.pull(other))).toBe(other)
  })
})
