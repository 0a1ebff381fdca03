import type { noise } from '@chainsafe/libp2p-noise'
import type { MessageStream } from '@libp2p/interface'
import type { yamux } from '@libp2p/yamux'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { inOnePacket, withLateUpdates } from '../../../daemon/swarm/packets.ts'

type Frame = Parameters<MessageStream['send']>[0]

/** A connection that notes what is sent over it. */
class FakeConnection extends EventTarget {
  readonly sent: Frame[] = []
  writableNeedsDrain = false
  isClosing = false

  send(data: Frame): boolean {
    if (this.isClosing) throw new Error('it is closing')
    this.sent.push(data)
    return !this.writableNeedsDrain
  }

  get bytes(): Buffer[] {
    return this.sent.map((data) => Buffer.from(data.subarray()))
  }
}

/** What libp2p hands over in pieces. */
function inPieces(...pieces: Uint8Array[]): Frame {
  return { subarray: () => Buffer.concat(pieces), [Symbol.iterator]: () => pieces.values() } as unknown as Frame
}

it('encrypted messages go to the socket in one piece, with their length', async () => {
  const secure = async (connection: MessageStream) => connection.send(inPieces(Buffer.from([0, 3]), Buffer.from('abc')))
  const create = (() => ({ secureInbound: secure, secureOutbound: secure })) as unknown as ReturnType<typeof noise>
  const encrypter = inOnePacket(create)({} as never)
  const [inbound, outbound] = [new FakeConnection(), new FakeConnection()]
  await encrypter.secureInbound(inbound as unknown as MessageStream)
  await encrypter.secureOutbound(outbound as unknown as MessageStream)
  for (const { sent } of [inbound, outbound]) expect(sent).toEqual([Buffer.from('\0\x03abc')])
})

describe('window updates', () => {
  const message = inPieces(Buffer.alloc(12), Buffer.from('a message'))
  let connection: FakeConnection
  let send: (data: Frame) => boolean

  /** As yamux's specification has it. */
  function update(stream: number, bytes: number, flags = 0): Uint8Array {
    const frame = Buffer.alloc(12)
    frame.writeUInt8(1, 1)
    frame.writeUInt16BE(flags, 2)
    frame.writeUInt32BE(stream, 4)
    frame.writeUInt32BE(bytes, 8)
    return frame
  }

  beforeEach(() => {
    vi.useFakeTimers()
    connection = new FakeConnection()
    const create = () => ({ createStreamMuxer: (wrapped: MessageStream) => wrapped })
    const wrapped = withLateUpdates(create as unknown as ReturnType<typeof yamux>)().createStreamMuxer(
      connection as never,
    )
    send = (data) => (wrapped as unknown as MessageStream).send(data)
  })
  afterEach(() => void vi.useRealTimers())

  it('travel with what is sent next, one for each stream', () => {
    for (const frame of [update(1, 10), update(2, 20), update(1, 5)]) expect(send(frame)).toBe(true)
    expect(connection.sent).toEqual([])
    send(message)
    send(message)
    expect(connection.bytes).toEqual([
      Buffer.concat([update(1, 15), update(2, 20), message.subarray()]),
      Buffer.from(message.subarray()),
    ])
    vi.advanceTimersByTime(1000)
    expect(connection.sent).toHaveLength(2)
  })

  it('go alone where nothing else is sent soon', () => {
    send(update(1, 10))
    vi.advanceTimersByTime(60)
    send(update(1, 7))
    expect(connection.sent).toEqual([])
    vi.advanceTimersByTime(40)
    expect(connection.bytes).toEqual([update(1, 17)])
  })

  it('go at once where a peer sends a lot', () => {
    send(update(1, 40_000))
    send(update(2, 40_000))
    expect(connection.sent).toEqual([])
    send(update(1, 40_000))
    expect(connection.bytes).toEqual([Buffer.concat([update(1, 80_000), update(2, 40_000)])])
  })

  it('go at once where they open, acknowledge, close or reset a stream', () => {
    const frames = [1, 2, 4, 8].map((flags) => update(1, 0, flags))
    for (const frame of frames) send(frame)
    expect(connection.sent).toEqual(frames)
  })

  it('tell whether the connection takes more', () => {
    connection.writableNeedsDrain = true
    expect(send(update(1, 10))).toBe(false)
  })

  it('are not sent any more where the connection is closing, or closed', () => {
    send(update(1, 10))
    connection.isClosing = true
    vi.advanceTimersByTime(1000)
    connection.isClosing = false
    send(update(1, 10))
    connection.dispatchEvent(new Event('close'))
    vi.advanceTimersByTime(1000)
    expect(connection.sent).toEqual([])
  })
})
