import { describe, expect, it } from 'vitest'
import { type Reading, readAsItComes, readHeld } from '../../../../daemon/fetch/download/reader.ts'
import { Notifier } from '../../../../daemon/fetch/notifier.ts'
import { chunkBytes } from '../../../../daemon/verify/chunk.ts'
import { setUpAssembly } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const { signal } = new AbortController()
const bytes = pseudoRandomBytes(3 * chunkBytes, 'reader')
const list = await checkpointsOf(bytes)
const slice = (first: number, end: number) => bytes.subarray(first * chunkBytes, end * chunkBytes)

describe('a client that reads a range', () => {
  const setUp = async () => {
    const { assembly, take } = await setUpAssembly(bytes)
    assembly.extend(list, 'peer')
    await take(1, slice(1, 3))
    const reading: Reading = { start: chunkBytes, position: chunkBytes, end: 3 * chunkBytes - 1, isRange: true }
    const changed = new Notifier()
    const readable = () => {
      if (reading.broken !== undefined) throw reading.broken
      return { assembly, changed, failure: undefined }
    }
    return { assembly, take, reading, changed, body: readAsItComes(readable, reading, signal) }
  }

  it('gets nothing more as soon as what it has got turns out to be wrong', async () => {
    const { reading, body } = await setUp()
    expect((await body.next()).done).toBe(false)
    reading.broken = new Error('wrong')
    await expect(body.next()).rejects.toThrow('wrong')
  })

  it('gets what came in the place of a chunk that was dropped, and not what was read before', async () => {
    const { assembly, take, reading, changed, body } = await setUp()
    const got: Buffer[] = []
    while (reading.position < 2 * chunkBytes) got.push(Buffer.from((await body.next()).value ?? []))
    // Some of it has been read ahead.
    assembly.truncate(1)
    let isOver = false
    const rest = (async () => {
      for await (const piece of body) got.push(Buffer.from(piece))
      isOver = true
    })()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([isOver, reading.position]).toEqual([false, 2 * chunkBytes])
    assembly.extend(list.subarray(32), 'other')
    await take(2, slice(2, 3))
    changed.notify()
    await rest
    expect(Buffer.concat(got).equals(slice(1, 3))).toBe(true)
  })
})

describe('a peer that asks for chunks', () => {
  it('gets them while they are held, and no mixture', async () => {
    const { assembly, take } = await setUpAssembly(bytes)
    assembly.extend(list, 'peer')
    await take(0, slice(0, 2))
    const read = (first: number, end: number) => readHeld(assembly, first * chunkBytes, end * chunkBytes - 1, signal)
    const got: Buffer[] = []
    for await (const piece of read(0, 2)) got.push(Buffer.from(piece))
    expect(Buffer.concat(got).equals(slice(0, 2))).toBe(true)
    await expect(read(1, 3).next()).rejects.toThrow('held')
    const body = read(0, 2)
    await body.next()
    assembly.truncate(1)
    await expect(body.next()).rejects.toThrow('dropped')
  })
})
