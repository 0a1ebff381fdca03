import { describe, expect, it } from 'vitest'
import { type Reading, readAsItComes, readHeld } from '../../../../daemon/fetch/download/reader.ts'
import { Notifier } from '../../../../daemon/fetch/notifier.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { setUpAssembly } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const { signal } = new AbortController()
/** Two quarters are read from the file at once. */
const bytes = pseudoRandomBytes(5 * quarterBytes, 'reader')
const list = await checkpointsOf(bytes)
const slice = (first: number, end: number) => bytes.subarray(first * quarterBytes, end * quarterBytes)

describe('a client that reads a range', () => {
  const setUp = async () => {
    const { assembly, take } = await setUpAssembly(bytes)
    assembly.extend(list, 'peer')
    await take(1, slice(1, 5))
    const reading: Reading = { start: quarterBytes, position: quarterBytes, end: 5 * quarterBytes - 1, isRange: true }
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

  it('gets what came in the place of a quarter that was dropped, and not what was read before', async () => {
    const { assembly, take, reading, changed, body } = await setUp()
    const got: Buffer[] = []
    while (reading.position < 3 * quarterBytes) got.push(Buffer.from((await body.next()).value ?? []))
    // Some of it has been read ahead.
    assembly.truncate(3)
    let isOver = false
    const rest = (async () => {
      for await (const piece of body) got.push(Buffer.from(piece))
      isOver = true
    })()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([isOver, reading.position]).toEqual([false, 3 * quarterBytes])
    assembly.extend(list.subarray(3 * 32), 'other')
    await take(3, slice(3, 5))
    changed.notify()
    await rest
    expect(Buffer.concat(got).equals(slice(1, 5))).toBe(true)
  })
})

describe('a peer that asks for quarters', () => {
  it('gets them while they are held, and no mixture', async () => {
    const { assembly, take } = await setUpAssembly(bytes)
    assembly.extend(list, 'peer')
    await take(0, slice(0, 4))
    const read = (first: number, end: number) =>
      readHeld(assembly, first * quarterBytes, end * quarterBytes - 1, signal)
    const got: Buffer[] = []
    for await (const piece of read(0, 4)) got.push(Buffer.from(piece))
    expect(Buffer.concat(got).equals(slice(0, 4))).toBe(true)
    await expect(read(1, 5).next()).rejects.toThrow('held')
    const body = read(0, 4)
    await body.next()
    assembly.truncate(1)
    await expect(body.next()).rejects.toThrow('dropped')
  })
})
