import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MAX_MESSAGE_BYTES } from '../../../../daemon/swarm/link/constants.ts'
import { FrameReader, FrameWriter } from '../../../../daemon/swarm/link/frames.ts'

/** Cuts bytes into pieces of these lengths, again and again. */
function* pieces(bytes: Buffer, lengths: readonly number[]): Generator<Buffer, void> {
  for (let at = 0, count = 0; at < bytes.length; count++) {
    const length = lengths[count % lengths.length] ?? 1
    yield Buffer.from(bytes.subarray(at, at + length))
    at += length
  }
}

const silent = () =>
  new FrameReader(
    () => {},
    () => {},
  )

test('messages are read as they were written, however they are cut', () => {
  const messages = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 20 })
  const lengths = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(messages, lengths, (sent, cuts) => {
      const writer = new FrameWriter()
      for (const message of sent) {
        const memory = Uint8Array.from(message)
        writer.push(memory)
        memory.fill(0)
      }
      const bytes = writer.take()
      expect([bytes.length, writer.length]).toEqual([sent.reduce((sum, { length }) => sum + length + 4, 0), 0])
      const got: Buffer[] = []
      const reader = new FrameReader(
        (message) => got.push(Buffer.from(message)),
        () => {},
      )
      for (const piece of pieces(bytes, cuts)) reader.push(piece)
      expect(got.map((message) => Uint8Array.from(message))).toEqual(sent.map((message) => Uint8Array.from(message)))
    }),
  )
})

test('what was taken is not written over by what comes after it', () => {
  const writer = new FrameWriter()
  writer.push(Buffer.from('one'))
  const first = writer.take()
  writer.push(Buffer.from('two'))
  expect([first.toString('latin1', 4), writer.take().toString('latin1', 4)]).toEqual(['one', 'two'])
})

test('a message that is whole in one piece is not copied', () => {
  const writer = new FrameWriter()
  writer.push(Buffer.from('message'))
  const bytes = Buffer.from(writer.take())
  let at = -1
  const onMessage = (message: Buffer) => {
    at = message.buffer === bytes.buffer ? message.byteOffset - bytes.byteOffset : -1
  }
  new FrameReader(onMessage, () => {}).push(bytes)
  expect(at).toBe(4)
})

test('a length beyond the bound is refused before its bytes come, one at the bound is not', () => {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(MAX_MESSAGE_BYTES)
  const reader = silent()
  reader.push(head)
  head.writeUInt32BE(MAX_MESSAGE_BYTES + 1)
  expect(() => silent().push(head)).toThrow('1048577 bytes')
})

test('that parts wait is told between messages, however it is cut', () => {
  const writer = new FrameWriter()
  writer.push(Buffer.from('one'))
  writer.pushPartsWait()
  writer.push(Buffer.from('two'))
  const bytes = writer.take()
  for (let cut = 1; cut < bytes.length; cut++) {
    const got: string[] = []
    const reader = new FrameReader(
      (message) => got.push(message.toString()),
      () => got.push('parts wait'),
    )
    for (const piece of pieces(bytes, [cut])) reader.push(piece)
    expect(got).toEqual(['one', 'parts wait', 'two'])
  }
})
