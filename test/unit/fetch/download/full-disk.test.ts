import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { StoreError } from '../../../../daemon/store/errors.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { UpstreamError } from '../../../../proxy/upstream/types.ts'
import { collect, pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, openStore, peerWith, requestOf } from '../../../fixtures/downloads.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const right = pseudoRandomBytes(8 * chunkBytes + 7, 'full')
const digest = digestOf(right)
const wrong = Buffer.from(right)
wrong.fill(0, 0, 9)
const signal = new AbortController().signal

/** What a client gets of a blob whose peer gives these bytes, on a disk that is full after 4 chunks. */
async function readOnFullDisk(bytes: Buffer, start: number): Promise<Buffer> {
  const store = await openStore()
  const { open } = store.partials
  store.partials.open = async (...args) => {
    const partial = await open.apply(store.partials, args)
    const { write } = partial
    partial.write = async (piece, position) => {
      if (position >= 4 * chunkBytes) {
        await delay(300)
        throw new StoreError('no-space', 'full')
      }
      await write.call(partial, piece, position)
    }
    return partial
  }
  const peer = peerWith(bytes, await checkpointsOf(bytes))
  const upstream = async () => {
    throw new UpstreamError('unreachable', 'it is down')
  }
  const { download, swarm, uncached } = await fakeNode({ store, peers: { peer }, upstream })
  const fetch = download(digest, undefined, right)
  const running = fetch.run()
  const content = await fetch.open(requestOf(digest))
  try {
    return await collect(content.read(start, undefined, signal))
  } finally {
    await running
    await content.close()
    expect(store.partials.idle).toBe(0)
    // It is said that the blob is not kept.
    expect(uncached).toEqual([digest])
    // That is no fault of the peer.
    expect(swarm.ends).toEqual([])
  }
}

describe('a disk that gets full', () => {
  it('keeps no client from its blob: what it has got is proven together with the rest', async () => {
    expect(digestOf(await readOnFullDisk(right, 0))).toBe(digest)
  })

  it('lets no wrong bytes be completed by right ones', async () => {
    await expect(readOnFullDisk(wrong, 0)).rejects.toThrow('received bytes that have')
  })

  it('breaks a range of which a part was given', async () => {
    await expect(readOnFullDisk(wrong, 1)).rejects.toThrow('full')
  })
})
