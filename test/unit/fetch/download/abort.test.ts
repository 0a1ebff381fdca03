import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, openStore, upstreamWith } from '../../../fixtures/downloads.ts'

const bytes = pseudoRandomBytes(3 * chunkBytes, 'abort')
const digest = digestOf(bytes)

it('a fetch that is given up while the store makes room for it leaves nothing in the way of the next one', async () => {
  const { promise: isRemoving, resolve } = Promise.withResolvers<void>()
  const store = await openStore(5 * chunkBytes, async () => {
    resolve()
    await delay(300)
  })
  const old = pseudoRandomBytes(4 * chunkBytes, 'old')
  const upstream = upstreamWith(bytes)
  const before = await fakeNode({ store, claim: { role: 'head' }, upstream: upstreamWith(old) })
  await before.download(digestOf(old)).run()
  expect(store.has(digestOf(old))).toBe(true)
  const { download } = await fakeNode({ store, claim: { role: 'head' }, upstream })
  const first = download(digest)
  const running = first.run()
  await isRemoving
  first.abort(new Error('nobody waits any more'))
  await running
  await download(digest).run()
  expect(store.has(digest)).toBe(true)
})
