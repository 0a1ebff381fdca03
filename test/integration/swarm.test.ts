import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { isSignedTag } from '../../daemon/share/signed-tag.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { collect, providersOf, type TestNode, TestSwarm, until } from '../fixtures/swarm.ts'
import { signedTag } from '../fixtures/tags.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

const signal = () => AbortSignal.timeout(60_000)

async function fetch(from: TestNode, to: TestNode, digest: Digest, offset = 0): Promise<Buffer> {
  const { body } = await to.swarm.open(from.peerId(), digest, { start: offset }, signal())
  return await collect(body)
}

/** Waits until a node finds exactly these providers. */
async function untilProvided(node: TestNode, digest: Digest, ...by: readonly TestNode[]): Promise<void> {
  const expected = by.map((provider) => provider.peerId()).sort()
  await until(async () => (await providersOf(node, digest)).sort().join() === expected.join())
}

describe('a blob', () => {
  test('is found and moves from one node to another', async () => {
    let served = 0
    const [a, b] = await swarm.pair({ onServed: (bytes) => (served += bytes) })
    const bytes = randomBytes(1_000_003)
    const digest = a.content.add(bytes)
    a.swarm.advertise(digest, true)
    await untilProvided(b, digest, a)
    const got = await b.swarm.open(a.peerId(), digest, { start: 0 }, signal())
    expect(got).toMatchObject({
      size: bytes.length,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      access: 'public',
    })
    expect((await collect(got.body)).equals(bytes)).toBe(true)
    await until(() => a.content.opened === a.content.closed && served === bytes.length)
  })

  test('is sent from an offset on', async () => {
    const [a, b] = await swarm.pair()
    const bytes = randomBytes(300_000)
    const digest = a.content.add(bytes)
    const got = await b.swarm.open(a.peerId(), digest, { start: 299_990 }, signal())
    expect(got.size).toBe(300_000)
    expect((await collect(got.body)).equals(bytes.subarray(299_990))).toBe(true)
    await expect(fetch(a, b, digest, 300_000)).rejects.toMatchObject({ code: 'failed' })
  })

  test('may be empty, have a sha512 digest, and be private', async () => {
    const [a, b] = await swarm.pair()
    a.content.access = 'private'
    const empty = a.content.add(new Uint8Array())
    const long = a.content.add(randomBytes(70_000), 'sha512')
    a.swarm.advertise(long, false)
    await untilProvided(b, long, a)
    expect(await fetch(a, b, empty)).toHaveLength(0)
    expect(digestOf(await fetch(a, b, long), 'sha512')).toBe(long)
    expect(await b.swarm.stat(a.peerId(), long, signal())).toMatchObject({ size: 70_000, access: 'private' })
  })

  test('that a provider does not have is absent, and the provider is not named again for it', async () => {
    const [a, b] = await swarm.pair()
    const digest = a.content.add(randomBytes(10))
    a.swarm.advertise(digest, true)
    await untilProvided(b, digest, a)
    a.content.blobs.clear()
    await expect(fetch(a, b, digest)).rejects.toMatchObject({ code: 'absent', peer: a.peerId() })
    await expect(b.swarm.stat(a.peerId(), digest, signal())).rejects.toMatchObject({ code: 'absent' })
    expect(await providersOf(b, digest)).toEqual([])
  })

  test('that nobody has is missed, also by a node that is alone', async () => {
    const [a] = await swarm.mesh(3)
    const alone = await swarm.node()
    const digest = digestOf(randomBytes(10))
    for (const node of [a, alone]) {
      // The lookup ends by itself: with the signal it would fail.
      const lookup = new AbortController()
      const found: string[] = []
      for await (const peer of (node as TestNode).swarm.providers(digest, lookup.signal)) found.push(peer)
      expect(found).toEqual([])
    }
  })

  test('is found by peers that join later, and that was completed while alone', async () => {
    const a = await swarm.node()
    const digest = a.content.add(randomBytes(10))
    a.swarm.advertise(digest, true)
    await until(() => a.status().provided === 1)
    expect(await providersOf(a, digest)).toEqual([])
    const b = await swarm.node({ config: { seeds: [a.address()] } })
    await untilProvided(b, digest, a)
  })

  test('that is withdrawn is neither found nor provided any more', async () => {
    const [a, b] = await swarm.pair()
    const digest = a.content.add(randomBytes(10))
    a.swarm.advertise(digest, true)
    await untilProvided(b, digest, a)
    a.content.blobs.delete(digest)
    await a.swarm.withdraw(digest)
    expect(a.status()).toMatchObject({ provided: 0, provideQueue: 0 })
    // b is told in a moment; until then the answer of the transfer server counts
    await expect(fetch(a, b, digest)).rejects.toMatchObject({ code: 'absent' })
    expect(await providersOf(b, digest)).toEqual([])
    const c = await swarm.node({ config: { seeds: [a.address()] } })
    await until(() => c.status().peers.length === 2)
    await b.stop()
    await until(() => c.status().peers.length === 1)
    expect(await providersOf(c, digest)).toEqual([])
  })

  test('that is read slowly is not cut, and a reader that leaves frees the upload', async () => {
    const [a, b] = await swarm.pair({ config: { uploads: 1 } })
    const digest = a.content.add(randomBytes(20_000_000))
    const first = await b.swarm.open(a.peerId(), digest, { start: 0 }, signal())
    await expect(b.swarm.open(a.peerId(), digest, { start: 0 }, signal())).rejects.toMatchObject({ code: 'busy' })
    for await (const _ of first.body) break
    await until(() => a.content.opened === a.content.closed)
    expect(await fetch(a, b, digest)).toHaveLength(20_000_000)
  })

  test('stops moving when the caller aborts, before and while bytes come', async () => {
    const [a, b] = await swarm.pair()
    const digest = a.content.add(randomBytes(20_000_000))
    const aborted = AbortSignal.abort()
    await expect(b.swarm.open(a.peerId(), digest, { start: 0 }, aborted)).rejects.toMatchObject({ code: 'aborted' })
    const caller = new AbortController()
    const { body } = await b.swarm.open(a.peerId(), digest, { start: 0 }, caller.signal)
    const reading = (async () => {
      for await (const _ of body) caller.abort()
    })()
    await expect(reading).rejects.toMatchObject({ code: 'aborted', peer: a.peerId() })
    await until(() => a.content.opened === a.content.closed)
  })
})

describe('tags', () => {
  const reference = 'registry.example/app:v1'

  test('are asked of all peers, and are as old as those say', async () => {
    const [a, b, d] = (await swarm.mesh(3)) as [TestNode, TestNode, TestNode]
    const older = signedTag(reference, { digest: digestOf(randomBytes(1)), confirmedAt: Date.now() - 60_000 })
    const newer = signedTag(reference, { digest: digestOf(randomBytes(2)), confirmedAt: Date.now() - 1000 })
    a.content.tags.set(reference, older)
    b.content.tags.set(reference, newer)
    const found = await d.swarm.tags(reference, signal())
    const sorted = [...found].sort((x, y) => y.confirmedAt - x.confirmedAt)
    expect(sorted.map((one) => one.digest)).toEqual([newer.digest, older.digest])
    expect(sorted.map((one) => [one.peer, isSignedTag(reference, one)])).toEqual([
      [b.peerId(), true],
      [a.peerId(), true],
    ])
    for (const [index, { confirmedAt }] of [newer, older].entries()) {
      expect(sorted[index]?.confirmedAt).toBeLessThanOrEqual(confirmedAt)
      expect(sorted[index]?.confirmedAt).toBeGreaterThan(confirmedAt - 2000)
    }
    expect(await d.swarm.tags('registry.example/app:v2', signal())).toEqual([])
    expect(await d.swarm.tags(reference, AbortSignal.abort())).toEqual([])
  })
})

describe('a banned peer', () => {
  test('gets nothing, gives nothing, and is neither named nor connected', async () => {
    const bans: string[] = []
    const [a, b] = await swarm.pair({ onBan: (peer) => bans.push(peer) })
    const digest = a.content.add(randomBytes(5_000_000))
    b.content.add(randomBytes(10))
    a.swarm.advertise(digest, true)
    await untilProvided(b, digest, a)
    const { body } = await b.swarm.open(a.peerId(), digest, { start: 0 }, signal())
    const victim = b.peerId()
    b.swarm.ban(a.peerId(), 'it sent wrong bytes')
    await expect(collect(body)).rejects.toMatchObject({ code: 'failed' })
    expect(await providersOf(b, digest)).toEqual([])
    await expect(fetch(a, b, digest)).rejects.toMatchObject({ code: 'failed' })
    await until(() => a.status().peers.length === 0 && b.status().peers.length === 0)
    const [known] = b.content.blobs.keys()
    await expect(a.swarm.open(victim, known as Digest, { start: 0 }, signal())).rejects.toMatchObject({
      code: 'failed',
    })
    expect(b.status().banned).toMatchObject([{ peerId: a.peerId(), reason: 'it sent wrong bytes' }])
    expect(bans).toEqual([a.peerId()])
  })
})
