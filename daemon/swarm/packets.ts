import type { noise } from '@chainsafe/libp2p-noise'
import type { MessageStream } from '@libp2p/interface'
import type { yamux } from '@libp2p/yamux'

type Encryption = ReturnType<typeof noise>
type Muxing = ReturnType<typeof yamux>
type Frame = Parameters<MessageStream['send']>[0]

/** A window update waits for this long, in ms, for a frame that it can travel with, and for so many bytes of one stream. */
const UPDATE_MS = 100
const UPDATE_BYTES = 64 * 1024

/** yamux's header: version, type, flags (2 bytes), stream (4 bytes), length (4 bytes). */
const headerBytes = 12
const windowUpdate = 1

/**
 * Encryption that writes each message to the socket at once. Noise gives its length and its bytes apart, and a socket for which nothing
 * waits sends each in a packet of its own: the length, of two bytes, was a third of all writes of peers that exchange short messages.
 */
export function inOnePacket(create: Encryption): Encryption {
  return (components) => {
    const encrypter = create(components)
    const { secureInbound, secureOutbound } = encrypter
    encrypter.secureInbound = (connection, options) => secureInbound.call(encrypter, inOnePiece(connection), options)
    encrypter.secureOutbound = (connection, options) => secureOutbound.call(encrypter, inOnePiece(connection), options)
    return encrypter
  }
}

function inOnePiece(connection: MessageStream): MessageStream {
  const send = connection.send.bind(connection)
  connection.send = (data) => send(data.subarray())
  return connection
}

/**
 * Muxing that acknowledges what was read together with what is sent next. yamux answers each frame with a window update, however
 * small it was, and however much of the window is left: that was half of what peers sent each other that exchange short messages.
 */
export function withLateUpdates(create: Muxing): Muxing {
  return () => {
    const muxing = create()
    const { createStreamMuxer } = muxing
    muxing.createStreamMuxer = (connection) => createStreamMuxer.call(muxing, holdingUpdates(connection))
    return muxing
  }
}

/** Holds window updates back for a moment. */
function holdingUpdates(connection: MessageStream): MessageStream {
  const send = connection.send.bind(connection)
  /** Bytes that each stream may get in addition. */
  const held = new Map<number, number>()
  let timer: NodeJS.Timeout | undefined
  const sendWith = (data?: Frame) => {
    clearTimeout(timer)
    timer = undefined
    const frames = [...held].map(([stream, bytes]) => updateOf(stream, bytes))
    held.clear()
    const pieces = data === undefined ? [] : data instanceof Uint8Array ? [data] : [...data]
    return send(Buffer.concat([...frames, ...pieces]))
  }
  const sendLate = () => {
    try {
      sendWith()
    } catch {
      // It is closing, or was aborted by what failed.
    }
  }
  connection.addEventListener('close', () => clearTimeout(timer))
  connection.send = (data) => {
    const update = parseUpdate(data)
    if (update === undefined) return held.size === 0 ? send(data) : sendWith(data)
    const bytes = (held.get(update.stream) ?? 0) + update.bytes
    held.set(update.stream, bytes)
    if (bytes >= UPDATE_BYTES) return sendWith()
    timer ??= setTimeout(sendLate, UPDATE_MS)
    return !connection.writableNeedsDrain
  }
  return connection
}

/** Of a frame that is a window update and nothing else: those that open or close a stream have flags. */
function parseUpdate(data: Frame): { stream: number; bytes: number } | undefined {
  if (!(data instanceof Uint8Array) || data.length !== headerBytes) return undefined
  const header = new DataView(data.buffer, data.byteOffset, data.byteLength)
  if (header.getUint16(0) !== windowUpdate || header.getUint16(2) !== 0) return undefined
  return { stream: header.getUint32(4), bytes: header.getUint32(8) }
}

function updateOf(stream: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(headerBytes)
  const header = new DataView(frame.buffer)
  header.setUint16(0, windowUpdate)
  header.setUint32(4, stream)
  header.setUint32(8, bytes)
  return frame
}
