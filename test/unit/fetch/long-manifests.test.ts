import { describe, expect, it } from 'vitest'
import { manifestContent } from '../../../daemon/fetch/content.ts'
import { LongManifests } from '../../../daemon/fetch/long-manifests.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { longManifestBytes } from '../../../proxy/oci/manifest.ts'
import type { Content } from '../../../proxy/ports.ts'

const never = new AbortController().signal
const json = (padding: number) => Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [], a: ' '.repeat(padding) }))
const short = json(10)
const long = json(longManifestBytes)

function contentOf(bytes: Buffer): Content {
  const read = async function* () {
    yield bytes
  }
  return { size: bytes.length, origin: 'store', read, close: async () => {} }
}

/** As many as there is room for. */
async function filled(wait: number) {
  const gate = new LongManifests(wait)
  const open = (bytes = long, signal = never) => manifestContent(contentOf(bytes), digestOf(bytes), signal, gate)
  const opened: Content[] = []
  for (let count = 0; count < 8; count++) opened.push(await open())
  return { open, opened }
}

describe('long manifests', () => {
  it('wait until another one was given, in their order, and short ones do not', async () => {
    const { open, opened } = await filled(60_000)
    const order: string[] = []
    const first = open().then(() => order.push('first'))
    const second = open().then(() => order.push('second'))
    expect((await open(short)).size).toBe(short.length)
    expect(order).toEqual([])
    await opened[0]?.close()
    // Closing twice gives no room twice.
    await opened[0]?.close()
    await first
    expect(order).toEqual(['first'])
    await opened[1]?.close()
    await second
    expect(order).toEqual(['first', 'second'])
  })

  it('are refused where there is no room for long, and leave none taken', async () => {
    const { open, opened } = await filled(5)
    await expect(open()).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.stringMatching(/8 long/) })
    await opened[0]?.close()
    await open()
  })

  it('are given up with their client', async () => {
    const { open, opened } = await filled(60_000)
    const client = new AbortController()
    const waiting = open(long, client.signal)
    client.abort(new Error('gone'))
    // In the same moment: the room must not go to who has just left.
    const closing = opened[0]?.close()
    await expect(waiting).rejects.toThrow('gone')
    await closing
    await open()
  })

  it('that are wrong take no room', async () => {
    const gate = new LongManifests(5)
    for (let count = 0; count < 20; count++) {
      await expect(manifestContent(contentOf(long), digestOf(short), never, gate)).rejects.toThrow()
    }
    await manifestContent(contentOf(long), digestOf(long), never, gate)
  })
})
