import type { Stream } from '@libp2p/interface'

const newline = 0x0a

/**
 * Reads the one line that a peer sends on a stream, without its end.
 * @throws {Error} where it is longer than `maxBytes`, or does not come before the signal's abort
 */
export async function readLine(stream: Stream, maxBytes: number, signal: AbortSignal): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  let received = new Uint8Array()
  const onMessage = ({ data }: { data: { subarray(): Uint8Array } }) => {
    received = Buffer.concat([received, data.subarray()])
    const end = received.indexOf(newline)
    if (end >= 0) resolve(received.subarray(0, end))
    if (received.length > maxBytes) reject(new Error(`the line is longer than ${maxBytes} bytes`))
  }
  const onEnd = () => reject(new Error('the stream ended before the end of the line'))
  const onAbort = () => reject(signal.reason)
  stream.addEventListener('message', onMessage)
  stream.addEventListener('end', onEnd)
  stream.addEventListener('close', onEnd)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  try {
    return await promise
  } finally {
    stream.removeEventListener('message', onMessage)
    stream.removeEventListener('end', onEnd)
    stream.removeEventListener('close', onEnd)
    signal.removeEventListener('abort', onAbort)
  }
}
