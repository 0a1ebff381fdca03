import type { Digest } from '../../proxy/oci/digest.ts'
import type { Links, PeerId } from '../swarm/ports.ts'
import type { Acquaintance } from './acquaintance.ts'
import type { SharedEntry } from './entry.ts'
import type { Partner } from './partner.ts'
import type { BlobId, Message } from './plan/messages.ts'
import { encodeFrames, splitList } from './wire/messages.ts'
import type { WireMessage } from './wire/wire-message.ts'

/** The number of blobs that are spoken of once, to say that they take no part. */
const REFUSED = 0

/** What goes to peers: a blob is introduced before it is spoken of, and checkpoints go before the chunks that they verify. */
export class Outbox {
  readonly #send: Links['send']

  constructor(send: Links['send']) {
    this.#send = send
  }

  /** Sends a message of the plan. @param entryOf blobs that take part here */
  send(partner: Partner, message: Message, entryOf: (blob: BlobId) => SharedEntry | undefined): void {
    const messages: WireMessage[] = []
    for (const blob of blobsOf(message)) {
      const entry = entryOf(blob)
      if (entry !== undefined) this.#prepare(partner.meet(entry), messages)
    }
    messages.push({ kind: 'plan', message })
    this.#write(partner.id, messages, (blob) => partner.acquaintances.get(blob as Digest)?.number)
  }

  /** Tells the checkpoints that are new, if there are any. */
  list(to: PeerId, acquaintance: Acquaintance): void {
    const messages: WireMessage[] = []
    this.#prepare(acquaintance, messages)
    if (messages.length > 0) this.#write(to, messages)
  }

  /** Takes back what was told of a blob. */
  retract(to: PeerId, acquaintance: Acquaintance): void {
    if (!acquaintance.isIntroduced) return
    acquaintance.statesTold = 0
    this.#write(to, [{ kind: 'retract', number: acquaintance.number }])
  }

  /** Wants no answer any more that may be of a blob, see {@link Partner.drops}. To be called before the plan asks anew. */
  leave(partner: Partner, blob: BlobId): void {
    const left = partner.drops(blob).map((id): WireMessage => ({ kind: 'plan', message: { kind: 'leave', id } }))
    if (left.length > 0) this.#write(partner.id, left)
  }

  /** Refuses a blob that does not take part here. */
  refuse(to: PeerId, digest: Digest): void {
    const messages: WireMessage[] = [
      { kind: 'intro', number: REFUSED, digest, facts: undefined },
      { kind: 'plan', message: { kind: 'bye', blob: digest } },
    ]
    this.#write(to, messages, () => REFUSED)
  }

  #prepare(acquaintance: Acquaintance, messages: WireMessage[]): void {
    const { entry, number } = acquaintance
    const { facts, list } = entry.blob
    const isShown = facts !== undefined && entry.size !== undefined
    if (!acquaintance.isIntroduced || (isShown && !acquaintance.hasFacts)) {
      messages.push({ kind: 'intro', number, digest: entry.digest, facts: isShown ? facts : undefined })
      acquaintance.isIntroduced = true
      acquaintance.hasFacts = isShown
    }
    if (!isShown) return
    const { signed, isComplete } = list
    // Whoever gets a signature has to have just what is signed.
    const known = isComplete || signed === undefined ? list.known : signed.known
    const from = acquaintance.statesTold
    if (known <= from) return
    const states = list.encode(from).subarray(0, (known - from) * 32)
    acquaintance.statesTold = known
    const signature = isComplete || signed === undefined ? undefined : { signer: signed.signer, bytes: signed.bytes }
    messages.push(...splitList({ kind: 'list', number, from, states, signature }))
  }

  /** In several frames where one would be too long: a list may have 8 MiB, and an image many of them. */
  #write(
    to: PeerId,
    messages: readonly WireMessage[],
    numberOf: (blob: BlobId) => number | undefined = () => undefined,
  ): void {
    for (const frame of encodeFrames(messages, (blob) => numberOf(blob) ?? REFUSED)) this.#send(to, frame)
  }
}

function* blobsOf(message: Message): Generator<BlobId> {
  if ('news' in message) for (const { blob } of message.news.blobs) yield blob
  if (message.kind === 'ask') for (const { blob } of message.wishes) yield blob
  if (message.kind === 'head' || message.kind === 'bye') yield message.blob
}
