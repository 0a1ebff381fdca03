import type { StreamHandler } from '@libp2p/interface'
import { Conversation } from '../conversation.ts'
import type { ClaimBook } from './book.ts'
import { MAX_CLAIM_BYTES } from './constants.ts'
import { type ClaimRequest, encodeResponse, parseRequest } from './message.ts'

/** Answers each question on a stream from the book of this node, for as long as the peer keeps it open. */
export function claimServer(book: ClaimBook): StreamHandler {
  return (stream, connection) => {
    const asker = connection.remotePeer.toString()
    const conversation: Conversation<ClaimRequest, object> = new Conversation<ClaimRequest, object>({
      stream,
      maxBytes: MAX_CLAIM_BYTES,
      parse: parseRequest,
      onMessage: ({ id, key, ...question }) => {
        // A peer that does not take the answers is not answered further: it asks again.
        if (conversation.isClogged) return
        const answer = book.ask(key, asker, question, performance.now())
        conversation.send(encodeResponse({ id, ...answer }))
      },
      onClose: () => {},
    })
  }
}
