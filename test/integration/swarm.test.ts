import { randomBytes } from 'node:crypto'
import { afterEach, expect, test } from 'vitest'
import { collect, providersOf, TestSwarm, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

const signal = () => AbortSignal.timeout(10_000)

test('a blob is found and moved from one node to another', async () => {
  const [a, b] = await swarm.pair()
  const bytes = randomBytes(1_000_003)
  const digest = a.content.add(bytes)
  a.swarm.advertise(digest, true)
  await until(async () => (await providersOf(b, digest)).length > 0)
  expect(await providersOf(b, digest)).toEqual([a.peerId()])
  const got = await b.swarm.open(a.peerId(), digest, 0, signal())
  expect(got).toMatchObject({ size: bytes.length, mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' })
  expect((await collect(got.body)).equals(bytes)).toBe(true)
})
