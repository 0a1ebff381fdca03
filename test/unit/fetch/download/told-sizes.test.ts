import { expect, it } from 'vitest'
import { chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, peerWith, requestOf, upstreamWith } from '../../../fixtures/downloads.ts'
import { checkpointsOf, collect, until } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(2 * chunkBytes + 7, 'sizes')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)
const { signal } = new AbortController()

/** Says that the blob has another size, each time another one, and gives nothing of it. */
const liar = (size: number) =>
  peerWith(Buffer.alloc(0), new Uint8Array(0), { facts: { size }, held: [], answer: 'none' })
const liars = { a: liar(50 * 2 ** 30), b: liar(bytes.length - 1), c: liar(bytes.length + chunkBytes), d: liar(1) }

it('upstream’s word on the size replaces those of peers, and no client sees an error', async () => {
  const { download, scripted, tools, store } = await fakeNode({
    peers: liars,
    claim: { role: 'head' },
    isClosed: false,
    upstream: async (request) => {
      await until(() => [...scripted.values()].every((peer) => peer.of('intro').length > 0))
      return await upstreamWith(bytes)(request)
    },
  })
  const fetch = download(digest)
  const running = fetch.run()
  const content = await fetch.open(requestOf(digest))
  expect(content.size).toBe(bytes.length)
  expect(bytes.equals(await collect(content.read(0, undefined, signal)))).toBe(true)
  await running
  await content.close()
  expect(store.has(digest)).toBe(true)
  expect(Object.keys(liars).some((peer) => !tools.sizes.isBelieved(peer))).toBe(true)
})

it('whoever told a refuted size is not believed the next time', async () => {
  const [other, otherStates] = [pseudoRandomBytes(bytes.length, 'other'), new Uint8Array(0)]
  const { download, tools, scripted, banned } = await fakeNode({
    peers: { liar: peerWith(other, otherStates, { facts: { size: 9 }, answer: 'none' }) },
    claim: { role: 'head' },
    isClosed: false,
    upstream: async (request) => {
      while ((scripted.get('liar')?.of('news').length ?? 0) === 0)
        await new Promise((resolve) => setTimeout(resolve, 10))
      return await upstreamWith(other)(request)
    },
  })
  tools.sizes.refuted('liar')
  const fetch = download(digestOf(other))
  const running = fetch.run()
  const content = await fetch.open(requestOf(digestOf(other)))
  expect([content.size, banned]).toEqual([other.length, []])
  await running
  await content.close()
})

it('no client hears a stranger’s word on the size before it is proven, and then it does, without upstream', async () => {
  const gate = Promise.withResolvers<void>()
  const give = async function* (start: number, end: number) {
    if (start + 1 > 2 * chunkBytes) await gate.promise
    yield bytes.subarray(start, end + 1)
  }
  const { download, scripted } = await fakeNode({
    peers: { honest: peerWith(bytes, states, { give }) },
    isClosed: false,
    upstream: async () =>
      Promise.reject(
        new (await import('../../../../proxy/upstream/types.ts')).UpstreamError('unreachable', 'it is down'),
      ),
  })
  const fetch = download(digest)
  const running = fetch.run()
  let isTold = false
  const opening = fetch.open(requestOf(digest)).then((content) => {
    isTold = true
    return content
  })
  await until(() => (scripted.get('honest')?.of('ask').length ?? 0) >= 3)
  expect([isTold, fetch.facts?.size]).toEqual([false, bytes.length])
  gate.resolve()
  const content = await opening
  expect(bytes.equals(await collect(content.read(0, undefined, signal)))).toBe(true)
  await running
  await content.close()
})
