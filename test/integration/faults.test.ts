import { Agent } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { chunkBytes } from '../../daemon/verify/quarter.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, until } from '../fixtures/node.ts'

const layer = pseudoRandomBytes(4 * chunkBytes + 1)

async function setUp(config: Readonly<Record<string, object>> = {}) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const node = await startTestNode({ registries: { 'docker.io': upstream.url }, config })
  const blob = upstream.addBlob(layer)
  const path = `/v2/app/blobs/${blob}`
  return { upstream, node, blob, path, get: (options = {}) => ask(node.url, path, options) }
}

/** Deadlines short enough for a test. */
const impatient = { upstream: { connectTimeout: '2s', responseTimeout: '2s', idleTimeout: '2s' } }

describe('an upstream that fails', () => {
  it.each([
    ['a body that breaks off', faults.truncate(chunkBytes + 7)],
    ['a hang before the headers', faults.hang()],
    ['a hang in the body', faults.hangAfter(2 * chunkBytes + 3)],
    ['5xx', faults.status(503)],
    ['429', faults.rateLimit('1')],
    ['a connection that is reset', faults.reset()],
  ])('once, by %s, is not noticed by the client', async (_name, fault) => {
    const { upstream, get, blob } = await setUp(impatient)
    const blobs = /^GET .*\/blobs\//
    upstream.inject(blobs, fault, 1)
    const got = await get()
    expect(got).toMatchObject({ status: 200, complete: true })
    expect(digestOf(got.body)).toBe(blob)
    // A registry that lets a request wait is asked for a sign of life, too.
    expect(upstream.seen(blobs)).toHaveLength(2)
  })

  it.each([
    ['a hang', faults.hang(), /docker.io/],
    ['5xx', faults.status(502), /docker.io/],
    ['429', faults.rateLimit('3600'), /docker.io/],
    ['HTML', faults.html(), /HTML/i],
    ['403', faults.status(403), /docker.io/],
  ])('for good, by %s, gives an error after which clients go on to their next mirror', async (name, fault, message) => {
    const { upstream, get } = await setUp(impatient)
    upstream.inject('GET', fault)
    const got = await get()
    expect(got.status).toBe(name === '403' ? 403 : 503)
    expect(JSON.parse(got.body.toString()).errors[0].message).toMatch(message)
    upstream.heal()
    if (name === '429') {
      // It said when to come back, and is not asked before.
      const requests = upstream.requests.length
      expect((await get()).status).toBe(503)
      expect(upstream.requests).toHaveLength(requests)
      return
    }
    // A registry that did not answer at all is left alone for a moment; the others can be asked at once.
    if (name !== 'a hang') expect(await get()).toMatchObject({ status: 200, complete: true })
  })

  it.each([0, 2 * chunkBytes, layer.length - 1])(
    'by a wrong byte at %i, never gives a client a whole wrong body',
    async (at) => {
      const { upstream, get, blob, node } = await setUp()
      upstream.inject('GET', faults.corrupt(at))
      const got = await get()
      expect(got.complete).toBe(false)
      expect(got.body.length).toBeLessThan(layer.length)
      await until(() => node.log.some(({ msg }) => msg === 'received wrong content'))
      upstream.heal()
      await until(async () => digestOf((await get()).body) === blob)
    },
  )

  it('by an empty body for a blob that is not empty gives nobody an empty blob', async () => {
    const { upstream, get } = await setUp()
    upstream.inject('GET', (answer) => {
      answer.body = Buffer.alloc(0)
    })
    const got = await get()
    expect(got.status === 200 && got.complete).toBe(false)
  })

  it('by wrong bytes of a small blob, once, is not noticed: nothing of it had left the node', async () => {
    const { upstream, node } = await setUp()
    const small = upstream.addBlob(pseudoRandomBytes(5000))
    upstream.inject(small, faults.corrupt(17), 1)
    const got = await ask(node.url, `/v2/app/blobs/${small}`)
    expect(got).toMatchObject({ status: 200, complete: true })
    expect(digestOf(got.body)).toBe(small)
  })

  it('by a wrong manifest is an error, not a manifest', async () => {
    const { upstream, node } = await setUp()
    const manifest = upstream.addManifest({ schemaVersion: 2, layers: [] })
    upstream.inject('GET', faults.corrupt(5))
    expect(await ask(node.url, `/v2/app/manifests/${manifest}`)).toMatchObject({ status: 503 })
  })

  it('is told from one that says no: a manifest too large to be one is refused', async () => {
    const { upstream, node } = await setUp()
    const huge = upstream.addManifest({ schemaVersion: 2, layers: ['x'.repeat(17_000_000)] })
    const got = await ask(node.url, `/v2/app/manifests/${huge}`)
    expect([got.status, got.body.length < 1000]).toEqual([503, true])
  })
})

describe('clients', () => {
  it('share one upstream request, two hundred of them at once', async () => {
    const { upstream, get, blob, node } = await setUp()
    upstream.inject('GET', faults.slow(20 * chunkBytes))
    const all = await Promise.all(Array.from({ length: 200 }, () => get()))
    for (const got of all) {
      expect(got).toMatchObject({ status: 200, complete: true })
      expect(layer.equals(got.body)).toBe(true)
    }
    expect(upstream.seen(blob)).toHaveLength(1)
    expect(await node.metric('layerd_fetched_bytes_total{source="upstream"}')).toBe(layer.length)
  })

  it('get bytes while the rest is still arriving', async () => {
    const { upstream, get } = await setUp()
    upstream.inject('GET', faults.hangAfter(3 * chunkBytes))
    const early = await get({ hangUpAfter: 2 * chunkBytes })
    expect(early.status).toBe(200)
    expect(layer.subarray(0, early.body.length).equals(early.body)).toBe(true)
  })

  it('may hang up: the blob is fetched all the same, and the next one joins', async () => {
    const { upstream, get, node } = await setUp()
    upstream.inject('GET', faults.slow(8 * chunkBytes))
    await get({ hangUpAfter: 1000 })
    await until(async () => (await node.status()).store.blobs === 1)
    expect(await get()).toMatchObject({ status: 200, complete: true })
    expect(upstream.seen('GET')).toHaveLength(1)
  })

  it('of a registry that hangs do not hold up those of another one with the same content', async () => {
    const [hanging, healthy] = [await FakeUpstream.start(), await FakeUpstream.start()]
    onTestFinished(async () => {
      await hanging.close()
      await healthy.close()
    })
    const node = await startTestNode({ registries: { 'ghcr.io': hanging.url, 'docker.io': healthy.url } })
    const blob = healthy.addBlob(layer)
    hanging.inject('GET', faults.hang())
    const stuck = ask(node.url, `/v2/ghcr.io/a/b/blobs/${blob}`).catch(() => undefined)
    await hanging.waitForRequest('GET')
    const started = performance.now()
    expect(await ask(node.url, `/v2/app/blobs/${blob}`)).toMatchObject({ status: 200, complete: true })
    // The one that hangs would be waited for for a minute.
    expect(performance.now() - started).toBeLessThan(25_000)
    await node.stop()
    await stuck
  })

  it('that keep their connection do not hold up a stop', async () => {
    const { node, path } = await setUp({ registry: { shutdownTimeout: '60s' } })
    const agent = new Agent({ keepAlive: true })
    onTestFinished(() => agent.destroy())
    for (let time = 0; time < 2; time++) await ask(node.url, path, { agent })
    const started = performance.now()
    await node.stop()
    expect(performance.now() - started).toBeLessThan(30_000)
  })

  it('that ask for a part of a cold blob get it before the whole has arrived', async () => {
    const { upstream, get, node } = await setUp()
    // Of each answer a chunk and a half: enough for the part, and never for the whole.
    upstream.inject('GET', faults.hangAfter(1.5 * chunkBytes))
    const range = { start: 3 * chunkBytes + 17, end: 3 * chunkBytes + 99_999 }
    const got = await get({ headers: { range: `bytes=${range.start}-${range.end}` } })
    expect([got.status, got.complete]).toEqual([206, true])
    expect(layer.subarray(range.start, range.end + 1).equals(got.body)).toBe(true)
    expect((await node.status()).store.blobs).toBe(0)
  })

  it('finish what they have begun when the node stops', async () => {
    const { upstream, node, get } = await setUp()
    upstream.inject('GET', faults.slow(8 * chunkBytes))
    const running = get()
    await upstream.waitForRequest('GET')
    await until(async () => (await node.metric('layerd_served_bytes_total{to="client"}')) > 0)
    await node.stop()
    expect(await running).toMatchObject({ status: 200, complete: true })
    await expect(get()).rejects.toThrow(/ECONNREFUSED/)
  })
})

describe('without room', () => {
  it('passes a blob through that is larger than the quota, proven all the same', async () => {
    const { upstream, get, node, blob } = await setUp({ store: { maxSize: '3 MiB' } })
    const got = await get()
    expect(got).toMatchObject({ status: 200, complete: true })
    expect(digestOf(got.body)).toBe(blob)
    const part = await get({ headers: { range: `bytes=${3 * chunkBytes}-` } })
    expect(part).toMatchObject({ status: 206, complete: true })
    expect(layer.subarray(3 * chunkBytes).equals(part.body)).toBe(true)
    expect((await node.status()).store).toMatchObject({ bytes: 0, blobs: 0 })
    upstream.inject('GET', faults.corrupt(chunkBytes))
    expect((await get()).complete).toBe(false)
  })

  it('passes on the rest of a blob of unknown size when it outgrows the quota', async () => {
    const { upstream, get, blob } = await setUp({ store: { maxSize: '3 MiB' } })
    upstream.inject('GET', faults.chunked())
    const got = await get()
    expect(got).toMatchObject({ status: 200, complete: true })
    expect(digestOf(got.body)).toBe(blob)
  })
})
