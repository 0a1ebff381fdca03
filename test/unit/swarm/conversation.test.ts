import { decode, encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Frames, frame } from '../../../daemon/swarm/conversation.ts'

describe('messages on a stream', () => {
  it('are found again however the stream cuts them', () => {
    const message = fc.record({ id: fc.nat(), text: fc.string(), bytes: fc.uint8Array({ maxLength: 300 }) })
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), fc.array(fc.integer({ min: 1, max: 40 })), (messages, cuts) => {
        const bytes = Buffer.concat(messages.map((one) => frame(one)))
        const frames = new Frames(10_000)
        const got: unknown[] = []
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          got.push(...frames.push(bytes.subarray(at, at + cut)))
          at += cut
        }
        expect(got).toEqual(messages.map((one) => decode(encode(one))))
      }),
    )
  })

  it('are not copied again for each piece that comes', () => {
    const copied = vi.spyOn(Buffer.prototype, 'copy')
    onTestFinished(() => copied.mockRestore())
    const size = 2 ** 18
    const bytes = frame({ bytes: new Uint8Array(size) })
    const frames = new Frames(2 * size)
    let got = 0
    for (let at = 0; at < bytes.length; at++) for (const _ of frames.push(bytes.subarray(at, at + 1))) got++
    expect(got).toBe(1)
    expect(copied.mock.calls.length).toBeLessThan(40)
  })

  it('that are too long end it before they have arrived', () => {
    const frames = new Frames(100)
    const head = Buffer.alloc(4)
    head.writeUInt32BE(101)
    expect(() => [...frames.push(head)]).toThrow(/101 bytes; at most 100/)
  })

  it('that are no CBOR end it', () => {
    expect(() => [...new Frames(100).push(Buffer.from([0, 0, 0, 2, 0xff, 0xff]))]).toThrow()
  })
})
