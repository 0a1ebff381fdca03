import type { StreamHandler } from '@libp2p/interface'
import type { Logger } from 'pino'
import { Messages } from '../find/message.ts'
import type { PeerId } from '../ports.ts'
import { MAX_WORKING } from './constants.ts'
import { type Announcement, decodeAnnouncement, encodeAnswer } from './message.ts'

/** Where a peer's announcements go. Each gives how many of the keys it took. */
export interface AnnouncedRecords {
  place(provider: PeerId, keys: readonly Uint8Array[]): Promise<number>
  withdraw(provider: PeerId, keys: readonly Uint8Array[]): Promise<number>
}

/** Records what a peer announces, in order, for as long as it keeps the stream open. */
export function announceServer(records: AnnouncedRecords, log: Logger): StreamHandler {
  return (stream, connection) => {
    // as the connection's encryption has proven it: nobody announces in another's name
    const provider = connection.remotePeer.toString()
    const messages = new Messages(decodeAnnouncement)
    let working = 0
    let last: Promise<void> = Promise.resolve()
    const fail = (error: unknown) => {
      log.debug({ peer: provider, err: error }, 'a peer that announces is cut off')
      stream.abort(error as Error)
    }
    const answer = async ({ id, kind, keys }: Announcement) => {
      if (stream.status !== 'open') return
      const taken = await records[kind](provider, keys)
      // small, and no more than one for each request: it need not wait until the peer reads
      if (stream.status === 'open') stream.send(encodeAnswer({ id, taken }))
      working--
    }
    stream.addEventListener('message', ({ data }) => {
      try {
        for (const announcement of messages.push(data.subarray())) {
          working++
          if (working > MAX_WORKING) throw new Error(`it has more than ${MAX_WORKING} requests open`)
          last = last.then(() => answer(announcement)).catch(fail)
        }
      } catch (error) {
        fail(error)
      }
    })
    stream.addEventListener('remoteCloseWrite', () => void stream.close().catch(fail))
  }
}
