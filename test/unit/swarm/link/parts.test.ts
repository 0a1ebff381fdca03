import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { Buffers } from '../../../../daemon/swarm/link/buffers.ts'
import { MAX_PART_BYTES, SLICE_BYTES, SLICES_IN_FLIGHT } from '../../../../daemon/swarm/link/constants.ts'
import { PartReceiver } from '../../../../daemon/swarm/link/part-receiver.ts'
import { PartSender } from '../../../../daemon/swarm/link/part-sender.ts'
import { SLICE_HEAD_BYTES, writeSliceHead } from '../../../../daemon/swarm/link/slice.ts'
import type { PartHead } from '../../../../daemon/swarm/ports.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'

const never = new AbortController().signal

/** A part in slices of such a length. */
function slices(head: PartHead, bytes: Buffer, length: number): Buffer {
  const written: Buffer[] = []
  for (let offset = 0; offset < bytes.length; offset += length) {
    const slice = bytes.subarray(offset, offset + length)
    const start = Buffer.alloc(SLICE_HEAD_BYTES)
    writeSliceHead(start, { ...head, total: bytes.length, offset, length: slice.length })
    written.push(start, slice)
  }
  return Buffer.concat(written)
}

/** Lets everything go on that waits for nothing but promises. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

/** A receiver whose parts are taken when the test says so. */
function receiving() {
  const buffers = { taken: 0, given: 0 }
  const taking: PromiseWithResolvers<void>[] = []
  const parts: { head: PartHead; bytes: Buffer }[] = []
  const failures: Error[] = []
  let isPaused = false
  let moved = 0
  const receiver = new PartReceiver({
    buffers: {
      take: () => {
        buffers.taken++
        return Buffer.alloc(MAX_PART_BYTES)
      },
      giveBack: (buffer: Buffer) => {
        buffers.given++
        buffer.fill(0xee)
      },
    } as unknown as Buffers,
    deliver: (head, bytes) => {
      const taken = Promise.withResolvers<void>()
      taking.push(taken)
      return taken.promise.finally(() => parts.push({ head, bytes: Buffer.from(bytes) }))
    },
    moved: (bytes) => {
      moved += bytes
    },
    pause: () => {
      isPaused = true
    },
    resume: () => {
      isPaused = false
    },
    fail: (error) => failures.push(error),
  })
  const state = () => ({ isPaused, moved, delivered: taking.length })
  return { receiver, buffers, taking, parts, failures, state }
}

describe('a receiver', () => {
  test('puts parts together, however they are cut', async () => {
    const part = fc.record({
      id: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      quarter: fc.integer({ min: 0, max: 255 }),
      length: fc.integer({ min: 1, max: 5000 }),
      slice: fc.integer({ min: 1, max: 3000 }),
    })
    const sequence = fc.array(part, { minLength: 1, maxLength: 6 })
    const lengths = fc.array(fc.integer({ min: 1, max: 4000 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(sequence, lengths, async (sent, cuts) => {
        const { receiver, buffers, taking, parts, state } = receiving()
        const contents = sent.map(({ length }, index) => Buffer.from(pseudoRandomBytes(length, `part ${index}`)))
        const bytes = Buffer.concat(
          sent.map(({ id, quarter, slice }, index) =>
            slices({ id, quarter }, contents[index] ?? Buffer.alloc(0), slice),
          ),
        )
        for (let at = 0, count = 0; at < bytes.length; count++) {
          const length = cuts[count % cuts.length] ?? 1
          receiver.push(bytes.subarray(at, at + length))
          at += length
          while (state().isPaused) {
            taking.at(-1)?.resolve()
            await settle()
          }
        }
        while (parts.length < sent.length) {
          taking.at(-1)?.resolve()
          await settle()
        }
        expect(parts.map(({ head }) => head)).toEqual(sent.map(({ id, quarter }) => ({ id, quarter })))
        expect(parts.every(({ bytes: got }, index) => got.equals(contents[index] ?? Buffer.alloc(0)))).toBe(true)
        expect(buffers.taken).toBe(buffers.given)
      }),
      { numRuns: 50 },
    )
  })

  test('reads one part ahead of the one that is taken, and no more', async () => {
    const { receiver, taking, parts, state } = receiving()
    const bytes = [1, 2, 3, 4].map((id) => slices({ id, quarter: 0 }, Buffer.alloc(100, id), 64))
    receiver.push(Buffer.concat(bytes))
    expect(state()).toEqual({ isPaused: true, moved: 200, delivered: 1 })
    taking[0]?.resolve()
    await settle()
    expect(state()).toEqual({ isPaused: true, moved: 300, delivered: 2 })
    taking[1]?.resolve()
    await settle()
    expect(state()).toEqual({ isPaused: true, moved: 400, delivered: 3 })
    taking[2]?.resolve()
    await settle()
    expect(state()).toEqual({ isPaused: false, moved: 400, delivered: 4 })
    taking[3]?.resolve()
    await settle()
    expect(parts.map(({ head, bytes: got }) => [head.id, got.equals(Buffer.alloc(100, head.id))])).toEqual([
      [1, true],
      [2, true],
      [3, true],
      [4, true],
    ])
  })

  test('keeps the memory of a part until it is taken, also where the link ends before', async () => {
    const { receiver, buffers, taking, parts } = receiving()
    receiver.push(Buffer.concat([slices({ id: 1, quarter: 0 }, Buffer.alloc(100, 1), 64), Buffer.alloc(3)]))
    receiver.close()
    expect(buffers).toEqual({ taken: 1, given: 0 })
    taking[0]?.resolve()
    await settle()
    expect(buffers).toEqual({ taken: 1, given: 1 })
    expect(parts[0]?.bytes.equals(Buffer.alloc(100, 1))).toBe(true)
  })

  test('delivers nothing after the end, and gives all memory back', async () => {
    const { receiver, buffers, taking, state } = receiving()
    const bytes = [1, 2, 3].map((id) => slices({ id, quarter: 0 }, Buffer.alloc(100, id), 64))
    receiver.push(Buffer.concat(bytes))
    receiver.close()
    taking[0]?.resolve()
    await settle()
    expect([state().delivered, buffers]).toEqual([1, { taken: 2, given: 2 }])
  })

  test('copies what waits once, however small the parts in it are', async () => {
    const { receiver, taking, parts } = receiving()
    const count = 1000
    const bytes = Buffer.concat(Array.from({ length: count }, (_, id) => slices({ id, quarter: 0 }, Buffer.of(1), 1)))
    const concat = vi.spyOn(Buffer, 'concat')
    receiver.push(bytes)
    while (parts.length < count) {
      taking.at(-1)?.resolve()
      await settle()
    }
    const copied = concat.mock.results.reduce((sum, { value }) => sum + value.length, 0)
    concat.mockRestore()
    expect(copied).toBeLessThanOrEqual(bytes.length)
  })

  test('fails where a part is refused, or what follows a pause is malformed', async () => {
    const one = receiving()
    one.receiver.push(slices({ id: 1, quarter: 0 }, Buffer.alloc(10), 64))
    one.taking[0]?.reject(new Error('not asked for'))
    await settle()
    expect(one.failures.map(({ message }) => message)).toEqual(['not asked for'])
    const other = receiving()
    const two = [1, 2].map((id) => slices({ id, quarter: 0 }, Buffer.alloc(10), 64))
    other.receiver.push(Buffer.concat([...two, Buffer.alloc(SLICE_HEAD_BYTES)]))
    other.taking[0]?.resolve()
    await settle()
    expect(other.failures.map(({ message }) => message)).toEqual([expect.stringContaining('a slice of 0 bytes')])
  })
})

describe('a sender', () => {
  /** A sender, and the writes that the system has not taken yet. */
  function sending() {
    const moved: number[] = []
    const writes: { bytes: Buffer; done: (error?: Error) => void }[] = []
    const buffers = new Buffers(SLICE_HEAD_BYTES + SLICE_BYTES, 4)
    const sender = new PartSender({ buffers, moved: (bytes) => moved.push(bytes) })
    const start = () => sender.start((bytes, done) => writes.push({ bytes: Buffer.from(bytes), done }))
    return { sender, writes, moved, start }
  }

  test('has some slices with the system, and counts what that has taken', async () => {
    const { sender, writes, moved, start } = sending()
    const bytes = Buffer.from(pseudoRandomBytes(2 * SLICE_BYTES + 10, 'a'))
    let isSent = false
    const sent = sender.send({ id: 7, quarter: 3 }, bytes, never).then(() => {
      isSent = true
    })
    expect(writes).toEqual([])
    start()
    expect([writes.length, moved]).toEqual([SLICES_IN_FLIGHT, []])
    writes[0]?.done()
    writes[1]?.done()
    await settle()
    expect([writes.length, moved, isSent]).toEqual([3, [SLICE_BYTES, SLICE_BYTES], false])
    writes[2]?.done()
    await sent
    expect(moved).toEqual([SLICE_BYTES, SLICE_BYTES, 10])
    expect(Buffer.concat(writes.map((write) => write.bytes))).toEqual(slices({ id: 7, quarter: 3 }, bytes, SLICE_BYTES))
    expect(sender.waitingSince).toBeUndefined()
  })

  test('goes on with the next part while the last slices of one are on their way', () => {
    const { sender, writes, start } = sending()
    start()
    void sender.send({ id: 1, quarter: 0 }, Buffer.alloc(10), never)
    void sender.send({ id: 2, quarter: 0 }, Buffer.alloc(10), never)
    void sender.send({ id: 3, quarter: 0 }, Buffer.alloc(10), never)
    expect(writes.map(({ bytes }) => bytes.readUInt32BE())).toEqual([1, 2])
    writes[0]?.done()
    expect(writes.map(({ bytes }) => bytes.readUInt32BE())).toEqual([1, 2, 3])
  })

  test('sends no more of a part that is given up, although nobody reads', async () => {
    const { sender, writes, start } = sending()
    start()
    const givenUp = new AbortController()
    const first = sender.send({ id: 1, quarter: 0 }, Buffer.alloc(4 * SLICE_BYTES), givenUp.signal)
    const second = sender.send({ id: 2, quarter: 0 }, Buffer.alloc(10), never)
    givenUp.abort(new Error('not wanted'))
    await expect(first).rejects.toThrow('not wanted')
    expect(writes.map(({ bytes }) => bytes.readUInt32BE())).toEqual([1, 1])
    for (const write of [...writes]) write.done()
    expect(writes.map(({ bytes }) => bytes.readUInt32BE())).toEqual([1, 1, 2])
    writes[2]?.done()
    await second
  })

  test('rejects what waits when the link ends, and what comes after that', async () => {
    const { sender, writes, moved, start } = sending()
    start()
    const waiting = [1, 2].map((id) => sender.send({ id, quarter: 0 }, Buffer.alloc(4 * SLICE_BYTES), never))
    sender.close(new Error('gone'))
    for (const each of waiting) await expect(each).rejects.toThrow('gone')
    for (const write of [...writes]) write.done(new Error('destroyed'))
    await expect(sender.send({ id: 3, quarter: 0 }, Buffer.alloc(1), never)).rejects.toThrow('gone')
    expect([writes.length, moved]).toEqual([SLICES_IN_FLIGHT, []])
  })
})

test('buffers are used again, as many as may be kept', () => {
  const buffers = new Buffers(10, 1)
  const [one, other] = [buffers.take(), buffers.take()]
  buffers.giveBack(one)
  buffers.giveBack(other)
  expect([buffers.take() === one, buffers.take() === other]).toEqual([true, false])
})
