import { describe, expect, it } from 'vitest'
import { GrowingCheckpoints } from '../../../../daemon/verify/checkpoints.ts'
import { DigestMismatch } from '../../../../daemon/verify/mismatch.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { replaceList, setUpAssembly } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(4 * quarterBytes + 100_001, 'assembly')
const digest = digestOf(bytes)
const signal = new AbortController().signal

const setUp = () => setUpAssembly(bytes)

const slice = (first: number, end: number) => bytes.subarray(first * quarterBytes, end * quarterBytes)
const wrong = (first: number, end: number) => Uint8Array.from(slice(first, end)).fill(7, 10, 20)

describe('a blob that is put together', () => {
  it('from upstream, in order, makes its own list and is proven at the end', async () => {
    const { assembly, take, fates } = await setUp()
    await take(0, bytes, true)
    expect(fates.map(([, fate]) => fate)).toEqual(Array(5).fill('held'))
    expect(assembly.proven?.encode()).toEqual(await checkpointsOf(bytes))
  })

  it('from peers, in any order, fits their list quarter by quarter', async () => {
    const { assembly, take } = await setUp()
    assembly.extend(await checkpointsOf(bytes), 'peer')
    await take(4, slice(4, 5))
    await take(1, slice(1, 3))
    expect([...assembly.held.indexes()]).toEqual([1, 2, 4])
    expect(assembly.partial.heldBytes).toBe(2 * quarterBytes + 100_001)
    expect(assembly.proven).toBeUndefined()
    await take(3, slice(3, 4))
    await take(0, slice(0, 1))
    expect(assembly.proven).toBeDefined()
  })

  it('takes no wrong quarter of a peer, and keeps those before it', async () => {
    const { assembly, take } = await setUp()
    assembly.extend(await checkpointsOf(bytes), 'peer')
    const mixed = Buffer.concat([slice(0, 1), wrong(1, 2)])
    await expect(take(0, mixed)).rejects.toMatchObject({ quarter: 1 })
    expect([...assembly.held.indexes()]).toEqual([0])
    await take(1, slice(1, 5))
    expect(assembly.proven).toBeDefined()
  })

  it('is a mismatch where upstream sends something else, never a blob', async () => {
    const { assembly, take } = await setUp()
    const other = Buffer.from(bytes)
    other[5] = (other[5] ?? 0) ^ 1
    await expect(take(0, other, true)).rejects.toThrow(DigestMismatch)
    expect(assembly.proven).toBeUndefined()
  })

  it('keeps what upstream sends from the middle, and verifies it when the list gets there', async () => {
    const { assembly, take, fates } = await setUp()
    await take(2, slice(2, 4), true)
    expect(fates).toEqual([
      [2, 'raw'],
      [3, 'raw'],
    ])
    expect(assembly.held.count).toBe(0)
    await take(0, slice(0, 2), true)
    await assembly.settle('raw', signal, () => {})
    expect([...assembly.held.indexes()]).toEqual([0, 1, 2, 3])
    await take(4, slice(4, 5), true)
    expect(assembly.proven).toBeDefined()
  })

  it('believes upstream and not a list that says something else', async () => {
    const { assembly, take } = await setUp()
    const list = await checkpointsOf(bytes)
    list.fill(1, 32, 96)
    assembly.extend(list, 'liar')
    await take(0, bytes, true)
    expect(assembly.proven?.encode()).toEqual(await checkpointsOf(bytes))
  })

  it('drops what only fitted a list that is replaced', async () => {
    const { assembly, take, dropped } = await setUp()
    const right = await checkpointsOf(bytes)
    const false_ = Uint8Array.from(right).fill(9, 2 * 32)
    assembly.extend(false_, 'liar')
    await take(0, slice(0, 2))
    const list = new GrowingCheckpoints(digest, bytes.length)
    list.append(right)
    replaceList(assembly, list, 'honest')
    expect(dropped).toEqual([[]])
    expect([...assembly.held.indexes()]).toEqual([0, 1])
    expect([assembly.authorOf(0), assembly.authorOf(2)]).toEqual(['liar', 'honest'])
    assembly.cut('liar')
    expect(dropped).toEqual([[], [0, 1]])
    expect([assembly.held.count, assembly.list.known, assembly.revision]).toEqual([0, 0, 2])
  })

  it('believes upstream’s last quarter, and not a list that leads elsewhere, whose bytes had fitted', async () => {
    const { assembly, take, fates, dropped, contradictions } = await setUp()
    const forged = pseudoRandomBytes(bytes.length, 'forged')
    assembly.extend(await checkpointsOf(forged), 'liar')
    await take(0, forged.subarray(0, 4 * quarterBytes))
    expect(assembly.held.count).toBe(4)
    await take(4, slice(4, 5), true)
    expect(contradictions).toEqual([[4, 4]])
    expect(dropped).toEqual([[0, 1, 2, 3]])
    expect(fates.at(-1)).toEqual([4, 'raw'])
    // The quarter of upstream is not fetched again.
    await take(0, slice(0, 4), true)
    await assembly.settle('raw', signal, () => {})
    expect(assembly.proven?.encode()).toEqual(await checkpointsOf(bytes))
  })

  it('goes on from a peer’s list with upstream’s bytes, and keeps these where that list turns out false', async () => {
    const { assembly, take, dropped, contradictions } = await setUp()
    const forged = pseudoRandomBytes(bytes.length, 'forged')
    assembly.extend((await checkpointsOf(forged)).subarray(0, 2 * 32), 'liar')
    await take(0, forged.subarray(0, 2 * quarterBytes))
    await take(2, slice(2, 5), true)
    expect(contradictions).toEqual([[2, 2]])
    expect(dropped).toEqual([[0, 1]])
    expect([...assembly.raw.indexes()]).toEqual([2, 3, 4])
    await take(0, slice(0, 2), true)
    await assembly.settle('raw', signal, () => {})
    expect(assembly.proven).toBeDefined()
  })

  it('keeps what one has said where upstream contradicts only what another said after it', async () => {
    const { assembly, take, dropped } = await setUp()
    const right = await checkpointsOf(bytes)
    assembly.extend(right.subarray(0, 2 * 32), 'honest')
    assembly.extend(new Uint8Array(2 * 32).fill(9), 'liar')
    await take(0, slice(0, 2))
    await take(2, slice(2, 5), true)
    expect(dropped).toEqual([[]])
    expect(assembly.proven?.encode()).toEqual(right)
  })

  it('takes no quarter of a peer as wrong where the list was cut while it was under way', async () => {
    const { assembly, take, fates } = await setUp()
    assembly.extend(await checkpointsOf(pseudoRandomBytes(bytes.length, 'forged')), 'liar')
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const taking = take(0, slice(0, 1), false, gate)
    assembly.cut('liar')
    resolve()
    await taking
    expect(fates).toEqual([[0, 'dropped']])
  })

  it('is right where two bring the same quarter at once, whoever is first', async () => {
    for (const slowIsWrong of [false, true]) {
      const { assembly, take, read } = await setUp()
      assembly.extend(await checkpointsOf(bytes), 'peer')
      const { promise: gate, resolve } = Promise.withResolvers<void>()
      const slow = take(1, slowIsWrong ? wrong(1, 2) : slice(1, 2), false, gate).catch(() => {})
      await take(1, slice(1, 2))
      resolve()
      await slow
      await take(0, slice(0, 1))
      await take(2, slice(2, 5))
      expect(assembly.proven).toBeDefined()
      expect((await read()).equals(bytes)).toBe(true)
    }
  })

  it('without a byte is proven by its digest alone', async () => {
    const { assembly } = await setUpAssembly(new Uint8Array(0))
    await assembly.takeNothing()
    expect(assembly.proven).toBeDefined()
  })
})
