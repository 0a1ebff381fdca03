import { expect, test } from 'vitest'
import { AdvertiseQueue } from '../../../../daemon/swarm/router/queue.ts'
import { type Digest, digestOf } from '../../../../proxy/oci/digest.ts'

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((text) => digestOf(Buffer.from(text))) as [Digest, Digest, Digest, Digest]

async function* list(...digests: Digest[]): AsyncGenerator<Digest> {
  yield* digests
}

async function drain(queue: AdvertiseQueue): Promise<Digest[]> {
  const taken: Digest[] = []
  for (let job = await queue.take(); job !== undefined; job = await queue.take()) taken.push(job.digest)
  return taken
}

test('fresh blobs come first, then queued ones, then what is held', async () => {
  const queue = new AdvertiseQueue(10)
  queue.round(list(d))
  queue.add(a, false)
  queue.add(b, true)
  queue.add(c, true)
  expect(queue.size).toBe(3)
  expect(await drain(queue)).toEqual([b, c, a, d])
})

test('a blob is queued once; to become fresh moves it ahead, and it does not fall back', async () => {
  const queue = new AdvertiseQueue(10)
  queue.add(a, false)
  queue.add(b, false)
  queue.add(b, true)
  queue.add(b, false)
  queue.add(a, false)
  expect(await queue.take()).toEqual({ digest: b, fresh: true })
  expect(await drain(queue)).toEqual([a])
})

test('a full queue drops its oldest, and a deleted blob is not taken', async () => {
  const queue = new AdvertiseQueue(2)
  for (const digest of [a, b, c]) queue.add(digest, true)
  queue.delete(b)
  expect(await drain(queue)).toEqual([c])
})

test('a round starts again, and can be ended', async () => {
  const queue = new AdvertiseQueue(2)
  queue.round(list(a, b))
  expect((await queue.take())?.digest).toBe(a)
  queue.round(list(a, b))
  expect((await queue.take())?.digest).toBe(a)
  queue.endRound()
  expect(await queue.take()).toBeUndefined()
})

test('a blob that becomes fresh while the round is read is not overlooked', async () => {
  const queue = new AdvertiseQueue(2)
  queue.round(list())
  const taken = queue.take()
  queue.add(a, true)
  expect(await taken).toEqual({ digest: a, fresh: true })
})
