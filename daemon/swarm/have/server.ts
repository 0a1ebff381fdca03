import type { StreamHandler } from '@libp2p/interface'
import type { Digest } from '../../../proxy/oci/digest.ts'
import { Conversation } from '../conversation.ts'
import type { PeerId } from '../ports.ts'
import type { Announcements } from './announcements.ts'
import { MAX_WATCH_BYTES, MAX_WATCHED } from './constants.ts'
import { type HaveAnswer, type HaveQuestion, parseQuestion } from './message.ts'

/** Tells each peer that asks which chunks of a blob are held, for as long as it keeps the stream open. */
export function haveServer(announcements: Announcements): StreamHandler {
  /** Blobs that each peer watches, on all its streams. */
  const counts = new Map<PeerId, number>()
  const count = (peer: PeerId, by: number) => {
    const after = (counts.get(peer) ?? 0) + by
    if (after > 0) counts.set(peer, after)
    else counts.delete(peer)
  }
  return (stream, connection) => {
    const peer = connection.remotePeer.toString()
    const watched = new Map<number, Digest>()
    const leave = (id: number) => {
      const digest = watched.get(id)
      if (digest === undefined) return
      watched.delete(id)
      count(peer, -1)
      announcements.remove(digest, { peer, id, conversation })
    }
    const conversation: Conversation<HaveQuestion, HaveAnswer> = new Conversation<HaveQuestion, HaveAnswer>({
      stream,
      maxBytes: MAX_WATCH_BYTES,
      parse: parseQuestion,
      onMessage: (question) => {
        leave(question.id)
        if (question.type === 'leave') return
        const { id, digest } = question
        const watcher = { peer, id, isBack: question.back === true, conversation }
        const isWatched = (counts.get(peer) ?? 0) < MAX_WATCHED && announcements.add(digest, watcher)
        // It asks somebody else for this blob, and goes on with the others here.
        if (!isWatched) return conversation.send({ type: 'none', id })
        watched.set(id, digest)
        count(peer, 1)
      },
      onClose: () => {
        for (const id of [...watched.keys()]) leave(id)
      },
    })
  }
}
