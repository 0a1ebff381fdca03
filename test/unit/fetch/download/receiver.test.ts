import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Receiver } from '../../../../daemon/fetch/download/receiver.ts'
import { StoreError } from '../../../../daemon/store/errors.ts'
import { GrowingCheckpoints } from '../../../../daemon/verify/checkpoints.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import type { Sha256Engine } from '../../../../daemon/verify/sha256.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { replaceList, setUpAssembly, slowDisk } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { checkpointsOf, until } from '../../../fixtures/swarm.ts'

const { signal } = new AbortController()
const bytes = pseudoRandomBytes(3 * quarterBytes + 100_001, 'receiver')
const right = await checkpointsOf(bytes)
/** What a liar has: quarter 1 is another one, and all states after it. */
const forged = Buffer.from(bytes).fill(7, quarterBytes + 10, quarterBytes + 90)
const wrong = await checkpointsOf(forged)
const garbage = Buffer.alloc(quarterBytes, 3)
const truth = new GrowingCheckpoints(digestOf(bytes), bytes.length)
truth.append(right)

const slice = (first: number, end = first + 1, of: Buffer = bytes) =>
  of.subarray(first * quarterBytes, end * quarterBytes)

/** Time for what should not happen. */
const settled = () => delay(40)
const outcome = (taking: Promise<void>) =>
  taking.then(
    () => 'ok',
    (error: Error) => error.name,
  )

describe('what came from upstream and is not verified yet', () => {
  it('is not written over by a peer, though its write would land after the quarter was verified', async () => {
    const { assembly, partial, take, read } = await setUpAssembly(bytes)
    await take(2, slice(2), true)
    assembly.extend(right, 'honest')
    const { gates } = slowDisk(partial, 4)
    const taking = outcome(take(2, garbage))
    // Either it is being written, or it has been found to be of no use.
    await settled()
    await assembly.settle('raw', signal, () => {})
    for (const { resolve } of gates) resolve()
    expect(await taking).toBe('ok')
    expect([...assembly.held.indexes()]).toEqual([2])
    expect((await read(2, 3)).equals(slice(2))).toBe(true)
  })

  it('is what clients get, whatever peers bring in the meantime', async () => {
    const { assembly, take, read } = await setUpAssembly(bytes)
    await take(2, slice(2), true)
    assembly.extend(right, 'honest')
    await outcome(take(2, garbage))
    expect(assembly.raw.has(2)).toBe(true)
    expect((await read(2, 3)).equals(slice(2))).toBe(true)
    await assembly.settle('raw', signal, () => {})
    expect([...assembly.held.indexes()]).toEqual([2])
    expect([assembly.list.known, assembly.authorOf(2)]).toEqual([3, 'honest'])
  })

  it('counts as there until it is judged, and nobody writes there while it is read', async () => {
    const { assembly, partial, take } = await setUpAssembly(bytes)
    await take(2, slice(2), true)
    assembly.extend(right, 'honest')
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const read = partial.read.bind(partial)
    partial.read = async function* (...args) {
      await gate
      yield* read(...args)
    }
    const settling = assembly.settle('raw', signal, () => {})
    await settled()
    expect(assembly.raw.has(2)).toBe(true)
    resolve()
    await settling
    expect([assembly.raw.has(2), assembly.held.has(2)]).toEqual([false, true])
  })

  it('is upstream’s word against a list that it does not fit', async () => {
    const { assembly, take, contradictions, lost } = await setUpAssembly(bytes)
    await take(2, slice(2), true)
    assembly.extend(wrong, 'liar')
    await assembly.settle('raw', signal, () => {})
    expect([contradictions, lost]).toEqual([[], []])
    assembly.cut('liar')
    assembly.extend(right.subarray(0, 2 * 32), 'honest')
    assembly.extend(new Uint8Array(32).fill(9), 'liar')
    await assembly.settle('raw', signal, () => {})
    expect(contradictions).toEqual([[2, 3]])
    expect([assembly.held.has(2), assembly.authorOf(1), assembly.authorOf(2)]).toEqual([true, 'honest', 'self'])
    await take(0, slice(0, 4))
    expect(assembly.proven).toBeDefined()
  })

  it('is dropped, and clients told, where upstream itself has said something else', async () => {
    const { assembly, take, lost } = await setUpAssembly(bytes)
    await take(2, garbage, true)
    assembly.extend(right, 'self')
    await assembly.settle('raw', signal, () => {})
    expect([assembly.raw.count, assembly.held.count, assembly.list.known, lost]).toEqual([0, 0, 3, [2]])
    expect(assembly.drops).toBe(1)
    await take(0, slice(0, 4))
    expect(assembly.proven).toBeDefined()
  })

  it('is kept where the list it was hashed along is cut, and verified anew', async () => {
    const { assembly, take, fates } = await setUpAssembly(bytes)
    assembly.extend(wrong, 'liar')
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const taking = take(2, slice(2), true, gate)
    await settled()
    replaceList(assembly, truth, 'honest')
    resolve()
    await taking
    expect(fates).toEqual([[2, 'raw']])
    await assembly.settle('raw', signal, () => {})
    expect([...assembly.held.indexes()]).toEqual([2])
  })
})

describe('a list that changes while a quarter is written', () => {
  it('does not get the quarter that fitted it before', async () => {
    const { assembly, partial, take, fates, read } = await setUpAssembly(bytes)
    assembly.extend(wrong, 'liar')
    const { gates, begun } = slowDisk(partial, 2)
    const honest = outcome(take(1, slice(1)))
    await until(() => begun() === 1)
    const [writer] = assembly.writers.values()
    const liar = outcome(take(1, slice(1, 2, forged)))
    await until(() => writer?.isStopped === true)
    gates[0]?.resolve()
    await until(() => begun() === 2)
    replaceList(assembly, truth, 'honest')
    gates[1]?.resolve()
    expect([await honest, await liar]).toEqual(['ok', 'ok'])
    expect(fates.map(([, fate]) => fate)).toEqual(['dropped', 'dropped'])
    expect(assembly.held.count).toBe(0)
    await take(0, slice(0, 4))
    expect(assembly.proven).toBeDefined()
    expect((await read()).equals(bytes)).toBe(true)
  })

  it('does not get upstream’s state at another place', async () => {
    const { assembly, partial, take } = await setUpAssembly(bytes)
    assembly.extend(wrong, 'liar')
    const { gates, begun } = slowDisk(partial, 2)
    const peer = outcome(take(2, garbage))
    await until(() => begun() === 1)
    const [writer] = assembly.writers.values()
    const upstream = outcome(take(2, slice(2), true))
    await until(() => writer?.isStopped === true)
    gates[0]?.resolve()
    await until(() => begun() === 2)
    assembly.cut('liar')
    gates[1]?.resolve()
    await Promise.all([peer, upstream])
    expect([assembly.list.known, assembly.held.count]).toEqual([0, 0])
    await take(0, slice(0, 4), true)
    await assembly.settle('raw', signal, () => {})
    await take(3, slice(3), true)
    expect(assembly.proven?.encode()).toEqual(right)
  })

  it('says nothing of a peer’s quarter where it ends before it', async () => {
    const { assembly, take, fates } = await setUpAssembly(bytes)
    assembly.extend(right.subarray(0, 32), 'honest')
    assembly.extend(right.subarray(32), 'other')
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const taking = outcome(take(1, slice(1), false, gate))
    await settled()
    assembly.cut('other')
    resolve()
    expect(await taking).toBe('ok')
    expect(fates).toEqual([[1, 'dropped']])
  })
})

describe('upstream, where it contradicts the list', () => {
  it('has its way, and it is told which quarters are not held any more', async () => {
    const { assembly, take, dropped } = await setUpAssembly(bytes)
    assembly.extend(wrong, 'liar')
    await take(2, slice(2))
    await take(1, slice(1), true)
    expect(dropped).toEqual([[2]])
    expect([assembly.held.has(2), assembly.raw.has(1)]).toEqual([false, true])
  })
})

describe('several that bring one quarter', () => {
  it('write one after the other, each as long as nobody has taken its place', async () => {
    const { assembly, partial, take, read } = await setUpAssembly(bytes)
    assembly.extend(wrong, 'liar')
    const { gates, begun } = slowDisk(partial, 3)
    const first = outcome(take(1, slice(1)))
    await until(() => begun() === 1)
    const [writer] = assembly.writers.values()
    const liar = outcome(take(1, slice(1, 2, forged)))
    await until(() => writer?.isStopped === true)
    gates[0]?.resolve()
    // The liar's quarter fits, and is on its way from memory to the file.
    await until(() => begun() === 2)
    replaceList(assembly, truth, 'honest')
    const third = outcome(take(1, slice(1)))
    gates[2]?.resolve()
    await settled()
    gates[1]?.resolve()
    expect([await first, await liar, await third]).toEqual(['ok', 'ok', 'ok'])
    expect([...assembly.held.indexes()]).toEqual([1])
    expect((await read(1, 2)).equals(slice(1))).toBe(true)
  })

  it('are of no use from the middle on, whatever becomes of the one that was faster', async () => {
    const { assembly, partial, engine, take } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    await take(1, slice(1))
    const { begun } = slowDisk(partial, 0)
    const late = new Receiver(assembly, engine, 1, false)
    await late.push(slice(1).subarray(0, quarterBytes / 2))
    assembly.cut('honest')
    assembly.extend(right, 'honest')
    await late.push(slice(1).subarray(quarterBytes / 2))
    expect([await late.finish(), begun(), assembly.writers.size]).toEqual(['dropped', 0, 0])
  })
})

describe('a quarter that is whole in memory', () => {
  it('is held where it fits, and proves the whole with the others', async () => {
    const { assembly, read } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    for (const quarter of [3, 1, 0, 2]) expect(await assembly.takeQuarter(quarter, slice(quarter))).toBe('held')
    expect(assembly.proven?.encode()).toEqual(right)
    expect((await read()).equals(bytes)).toBe(true)
    expect(assembly.writers.size).toBe(0)
  })

  it('is there where it is held, is upstream’s, or nothing is written any more', async () => {
    const { assembly, take, read } = await setUpAssembly(bytes)
    await take(2, slice(2), true)
    expect(await assembly.takeQuarter(2, garbage)).toBe('there')
    assembly.extend(right, 'honest')
    expect(await assembly.takeQuarter(2, garbage)).toBe('there')
    expect([assembly.raw.has(2), assembly.held.has(2)]).toEqual([true, false])
    expect((await read(2, 3)).equals(slice(2))).toBe(true)
    await assembly.takeQuarter(1, slice(1))
    expect(await assembly.takeQuarter(1, garbage)).toBe('there')
    expect((await read(1, 2)).equals(slice(1))).toBe(true)
    await assembly.writers.close()
    expect(await assembly.takeQuarter(0, slice(0))).toBe('there')
    expect([...assembly.held.indexes()]).toEqual([1])
  })

  it('is wrong where it does not fit, or has another length; nothing beside it is touched', async () => {
    const { assembly, read } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    await assembly.takeQuarter(2, slice(2))
    const tooLong = Buffer.concat([slice(1), garbage.subarray(0, 1)])
    for (const other of [garbage, tooLong, slice(1).subarray(1), Buffer.alloc(0)]) {
      expect(await assembly.takeQuarter(1, other)).toBe('wrong')
    }
    expect(await assembly.takeQuarter(3, slice(2))).toBe('wrong')
    for (const none of [-1, 4, 0.5]) await expect(assembly.takeQuarter(none, garbage)).rejects.toThrow(RangeError)
    expect([[...assembly.held.indexes()], assembly.writers.size]).toEqual([[2], 0])
    expect((await read(2, 3)).equals(slice(2))).toBe(true)
  })

  it('is unknown where the list does not reach it, and is not written then', async () => {
    const { assembly, partial } = await setUpAssembly(bytes)
    const { begun } = slowDisk(partial, 0)
    expect(await assembly.takeQuarter(0, slice(0))).toBe('unknown')
    // The digest is the state after the last one, but not the one before it.
    expect(await assembly.takeQuarter(3, slice(3))).toBe('unknown')
    assembly.extend(right.subarray(0, 2 * 32), 'honest')
    expect(await assembly.takeQuarter(2, slice(2))).toBe('unknown')
    expect(begun()).toBe(0)
    expect(await assembly.takeQuarter(1, slice(1))).toBe('held')
  })

  it('is unknown where the list is cut, or another one, when it is written', async () => {
    const { assembly, partial } = await setUpAssembly(bytes)
    for (const change of [() => assembly.cut('liar'), () => replaceList(assembly, truth, 'honest')]) {
      assembly.extend(wrong, 'liar')
      const { gates, begun } = slowDisk(partial, 1)
      const taking = assembly.takeQuarter(2, slice(2, 3, forged))
      await until(() => begun() === 1)
      change()
      gates[0]?.resolve()
      expect(await taking).toBe('unknown')
      expect(assembly.held.count).toBe(0)
    }
  })

  it('takes the place of another one only where it fits, and when that one’s write has ended', async () => {
    const { assembly, partial, read } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    const { gates, begun } = slowDisk(partial, 2)
    const first = assembly.takeQuarter(1, garbage)
    await until(() => begun() === 1)
    const [writer] = assembly.writers.values()
    expect(await assembly.takeQuarter(1, Buffer.alloc(quarterBytes, 4))).toBe('wrong')
    expect(writer?.isStopped).toBe(false)
    const second = assembly.takeQuarter(1, slice(1))
    await until(() => writer?.isStopped === true)
    await settled()
    expect(begun()).toBe(1)
    gates[0]?.resolve()
    expect(await first).toBe('there')
    await until(() => begun() === 2)
    gates[1]?.resolve()
    expect(await second).toBe('held')
    expect((await read(1, 2)).equals(slice(1))).toBe(true)
    expect(assembly.writers.size).toBe(0)
  })

  it('is held though upstream is sending it, which goes on with the next one', async () => {
    const { assembly, take, fates, read } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    const gate = Promise.withResolvers<void>()
    const taking = take(1, slice(1, 3), true, gate.promise)
    expect(await assembly.takeQuarter(1, slice(1))).toBe('held')
    gate.resolve()
    await taking
    expect(fates).toEqual([
      [1, 'dropped'],
      [2, 'held'],
    ])
    expect((await read(1, 3)).equals(slice(1, 3))).toBe(true)
  })

  it('fails as the disk does, and leaves its place to the next one', async () => {
    const { assembly, partial } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    const { at } = partial
    const fails = () => Promise.reject(new StoreError('no-space', 'full'))
    partial.at = () => ({ write: fails, writeBy: fails })
    await expect(assembly.takeQuarter(1, slice(1))).rejects.toMatchObject({ code: 'no-space' })
    partial.at = at
    expect(await assembly.takeQuarter(1, slice(1))).toBe('held')
  })
})

describe('a receiver', () => {
  it('uses the memory of a piece until its write has ended, though it can not be hashed', async () => {
    const { assembly, partial } = await setUpAssembly(bytes)
    const { gates } = slowDisk(partial, 1)
    const broken = { advance: async () => Promise.reject(new Error('no hash')) } as unknown as Sha256Engine
    const receiver = new Receiver(assembly, broken, 0, false)
    let isOver = false
    const pushing = receiver.push(slice(0)).finally(() => {
      isOver = true
    })
    pushing.catch(() => {})
    await settled()
    expect(isOver).toBe(false)
    gates[0]?.resolve()
    await expect(pushing).rejects.toThrow('no hash')
  })
})

describe('a blob whose fetch is over', () => {
  it('waits for what is being written, and lets nothing be written after that', async () => {
    const { assembly, partial, engine, take, fates } = await setUpAssembly(bytes)
    assembly.extend(right, 'honest')
    const [half, rest] = [slice(1).subarray(0, quarterBytes / 2), slice(1).subarray(quarterBytes / 2)]
    const [first, second] = [new Receiver(assembly, engine, 1, false), new Receiver(assembly, engine, 1, true)]
    await Promise.all([first.push(half), second.push(half)])
    const { gates, begun } = slowDisk(partial, 1)
    const taking = take(0, slice(0))
    await until(() => begun() === 1)
    let isClosed = false
    const closing = assembly.writers.close().then(() => {
      isClosed = true
    })
    await settled()
    expect(isClosed).toBe(false)
    gates[0]?.resolve()
    await closing
    await Promise.all([taking, take(2, slice(2)), first.push(rest), second.push(rest)])
    expect([await first.finish(), await second.finish()]).toEqual(['dropped', 'dropped'])
    expect(fates.map(([, fate]) => fate)).toEqual(['dropped', 'dropped'])
    expect([begun(), assembly.held.count, assembly.raw.count]).toEqual([1, 0, 0])
  })
})
