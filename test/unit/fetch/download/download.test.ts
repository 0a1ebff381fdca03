import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { slowDisk } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { setUpDownload, slowly } from '../../../fixtures/download.ts'
import { peerWith } from '../../../fixtures/downloads.ts'
import { checkpointsOf, until } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(9 * chunkBytes + 100_001, 'download')
const place = (chunk: number) => chunk * chunkBytes

describe('a download', () => {
  it('asks upstream for nothing twice, though a client reads a range before the rest is there', async () => {
    const { over, read, asked, store, digest } = await setUpDownload(bytes, {
      upstream: (offset, end, signal) => slowly(bytes.subarray(offset, end + 1), 1, signal),
    })
    const range = await read(place(4), place(7) - 1)
    await over
    expect(range.equals(bytes.subarray(place(4), place(7)))).toBe(true)
    expect(store.has(digest)).toBe(true)
    const chunks = asked.map(([first]) => first)
    expect(new Set(chunks).size).toBe(chunks.length)
  })

  it('is over when its last write is: the next one opens the same file', async () => {
    const { download, over, store } = await setUpDownload(bytes, {
      upstream: (offset, end, signal) => slowly(bytes.subarray(offset, end + 1), 0, signal),
    })
    let disk: ReturnType<typeof slowDisk> | undefined
    const open = store.partials.open.bind(store.partials)
    store.partials.open = async (...args) => {
      const partial = await open(...args)
      disk = slowDisk(partial, 1)
      return partial
    }
    await until(() => disk?.begun() === 1)
    download.abort(new Error('the node stops'))
    let isOver = false
    void over.then(() => {
      isOver = true
    })
    await delay(100)
    expect(isOver).toBe(false)
    disk?.gates[0]?.resolve()
    await over
    expect(disk?.begun()).toBe(1)
  })

  it('cuts a range of a liar’s chunks off where upstream contradicts its list', async () => {
    // What is told and given fits from quarter 2 on, and only to the list that comes of a false quarter 1.
    const forged = Buffer.from(bytes).fill(7, place(1) + 10, place(1) + 90)
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { read } = await setUpDownload(bytes, {
      peers: {
        liar: peerWith(forged, await checkpointsOf(forged), {
          held: [1],
          give: async function* (start, end, signal) {
            if (start >= place(6)) await new Promise((_, reject) => signal.addEventListener('abort', reject))
            yield forged.subarray(start, end + 1)
            if (start >= place(5)) resolve()
          },
        }),
      },
      upstream: async function* (offset, end, signal) {
        await gate
        await delay(200)
        yield* slowly(bytes.subarray(offset, end + 1), 0, signal)
      },
    })
    await expect(read(place(5), place(7) - 1)).rejects.toThrow('did not match')
  })
})
