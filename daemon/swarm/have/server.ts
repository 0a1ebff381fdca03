import type { StreamHandler } from '@libp2p/interface'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { Conversation } from '../conversation.ts'
import type { Announcements } from './announcements.ts'
import { MAX_WATCH_BYTES, MAX_WATCHED } from './constants.ts'
import { type HaveAnswer, type HaveQuestion, parseQuestion } from './message.ts'

/** Tells each peer that asks which chunks of a blob are held, for as long as it keeps the stream open. */
export function haveServer(announcements: Announcements): StreamHandler {
  return (stream, connection) => {
    const peer = connection.remotePeer.toString()
    const watched = new Map<number, Digest>()
    const leave = (id: number) => {
      const digest = watched.get(id)
      watched.delete(id)
      if (digest !== undefined) announcements.remove(digest, { peer, id, conversation })
    }
    const conversation: Conversation<HaveQuestion, HaveAnswer> = new Conversation<HaveQuestion, HaveAnswer>({
      stream,
      maxBytes: MAX_WATCH_BYTES,
      parse: parseQuestion,
      onMessage: (question) => {
        leave(question.id)
        if (question.type === 'leave') return
        if (watched.size >= MAX_WATCHED) throw new Error(`it watches more than ${MAX_WATCHED} blobs`)
        announcements.add(question.digest, { peer, id: question.id, isBack: question.back === true, conversation })
        watched.set(question.id, question.digest)
      },
      onClose: () => {
        for (const id of [...watched.keys()]) leave(id)
      },
    })
  }
}
