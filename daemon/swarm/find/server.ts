import type { Stream, StreamHandler } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { PeerId } from '../ports.ts'
import { MAX_ANSWERING, MAX_PROVIDERS } from './constants.ts'
import { decodeRequest, encodeAnswer, type FindRequest, Messages } from './message.ts'

/** Providers that the records of this node name for a key, this node included. */
export type LocalProviders = (key: Uint8Array, limit: number) => Promise<readonly PeerId[]>

/** Answers each request on a stream from the local records, for as long as the peer keeps it open. */
export function findServer(localProviders: LocalProviders, log: Logger): StreamHandler {
  return (stream, connection) => {
    const messages = new Messages(decodeRequest)
    let answering = 0
    const fail = (error: unknown) => {
      log.debug({ peer: connection.remotePeer.toString(), err: error }, 'a peer that asks for providers is cut off')
      stream.abort(error as Error)
    }
    const answer = async ({ id, key }: FindRequest) => {
      answering++
      if (answering > MAX_ANSWERING) throw new Error(`it has more than ${MAX_ANSWERING} requests open`)
      const providers = await localProviders(key, MAX_PROVIDERS)
      await send(stream, encodeAnswer({ id, providers }))
      answering--
    }
    stream.addEventListener('message', ({ data }) => {
      for (const request of messages.push(data.subarray())) answer(request).catch(fail)
    })
    stream.addEventListener('remoteCloseWrite', () => void stream.close().catch(fail))
  }
}

/** Counts as done only when the peer takes what we send, so that one that does not read runs into the limit. */
async function send(stream: Stream, bytes: Uint8Array): Promise<void> {
  if (stream.status !== 'open' || stream.send(bytes)) return
  const { promise, resolve } = Promise.withResolvers<void>()
  const done = () => resolve()
  stream.addEventListener('drain', done)
  stream.addEventListener('close', done)
  await promise
  stream.removeEventListener('drain', done)
  stream.removeEventListener('close', done)
}
