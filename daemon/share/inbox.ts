import type { Digest } from '../../proxy/oci/digest.ts'
import type { PartHead, PeerId } from '../swarm/ports.ts'
import { quartersPerChunk } from '../verify/quarter.ts'
import type { Entries } from './entries.ts'
import type { Outbox } from './outbox.ts'
import type { Partner, Partners } from './partner.ts'
import type { BlobNews, Message, News } from './plan/messages.ts'
import type { Runner } from './runner.ts'
import { decodeMessages } from './wire/messages.ts'
import type { Introduction, WireMessage } from './wire/wire-message.ts'

interface InboxOptions {
  readonly runner: Runner
  readonly partners: Partners
  readonly outbox: Outbox
  readonly entries: Entries
}

/** What comes from peers. The plan hears of chunks that can be used: their teller is followed, and they can be verified. */
export class Inbox {
  readonly #options: InboxOptions

  constructor(options: InboxOptions) {
    this.#options = options
  }

  /** @throws {Error} where the peer breaks the protocol */
  message(peer: PeerId, bytes: Uint8Array): void {
    const partner = this.#options.partners.of(peer)
    for (const message of decodeMessages(bytes, (number) => partner.blobOf(number))) {
      partner.sends(entriesOf(message))
      this.#heard(partner, message)
    }
  }

  /** A part of an answer. */
  async part(peer: PeerId, { id, quarter: part }: PartHead, bytes: Buffer): Promise<void> {
    const { partners, entries, runner } = this.#options
    const partner = partners.get(peer)
    const coming = await partner?.coming(id)
    const entry = coming && entries.of(coming.blob)
    // It was given up.
    if (partner === undefined || coming === undefined || entry?.fetched === undefined || part >= quartersPerChunk)
      return
    const { fetched } = entry
    const quarter = coming.chunk * quartersPerChunk + part
    let taken = await fetched.take(peer, quarter, bytes)
    if (taken === 'unknown' && (await fetched.verifiable(quarter))) taken = await fetched.take(peer, quarter, bytes)
    if (entries.of(coming.blob) !== entry || (await partner.coming(id)) !== coming) return
    if (taken === 'held' || taken === 'there') {
      const last = quarter === entry.quarters - 1 ? quartersPerChunk - 1 : part
      for (let one = part; one <= last; one++) runner.step({ kind: 'quarter', from: peer, id, quarter: one })
      entries.holds(entry, quarter)
      if (last === quartersPerChunk - 1) partner.ends(id)
    } else {
      partner.ends(id)
      this.#options.outbox.send(partner, { kind: 'leave', id }, () => undefined)
      runner.step({ kind: 'message', from: peer, message: { kind: 'cut', id } })
    }
  }

  #heard(partner: Partner, message: WireMessage): void {
    switch (message.kind) {
      case 'intro':
        this.#introduced(partner, message)
        break
      case 'list': {
        const blob = partner.blobOf(message.number)
        const entry = blob && this.#options.entries.of(blob)
        entry?.fetched?.listed(partner.id, message.from, message.states, message.signature)
        if (entry?.isForeseen !== true) break
        // Where there is no room, it is heard again when the blob is wanted.
        const isKept = this.#options.entries.foreseen.keep(entry.digest, message.states.length)
        partner.acquaintances.get(entry.digest)?.listed(message, isKept)
        break
      }
      case 'retract': {
        const blob = partner.blobOf(message.number)
        if (blob !== undefined) this.#retracted(partner, blob)
        break
      }
      case 'plan':
        this.#planned(partner, message.message)
        break
    }
  }

  #introduced(partner: Partner, { number, digest, facts }: Introduction): void {
    const { entries, outbox } = this.#options
    partner.name(number, digest)
    const entry = entries.of(digest) ?? entries.invite(digest)
    if (entry === undefined || entry.isAlone) {
      outbox.refuse(partner.id, digest)
      partner.unname(digest)
      return
    }
    const acquaintance = partner.meet(entry)
    entries.use(entry)
    acquaintance.hasAnswered ||= facts !== undefined
    if (facts === undefined) return
    entry.fetched?.introduced(partner.id, facts)
    if (entry.isForeseen) acquaintance.introduced(facts)
  }

  /** The peer's word of a blob does not hold any more; it says something else next. */
  #retracted(partner: Partner, blob: Digest): void {
    const { entries } = this.#options
    const entry = entries.of(blob)
    const acquaintance = partner.acquaintances.get(blob)
    if (entry === undefined || acquaintance === undefined) return
    acquaintance.forget()
    entry.fetched?.parted(partner.id)
    entries.follow(entry, partner.id, false)
  }

  #planned(partner: Partner, message: Message): void {
    const { runner, entries, outbox } = this.#options
    const heard: Message = 'news' in message ? { ...message, news: this.#news(partner, message.news) } : message
    if (heard.kind === 'head') partner.brings(heard.id, { blob: heard.blob as Digest, chunk: heard.chunk })
    if (heard.kind === 'busy' || heard.kind === 'none' || heard.kind === 'cut') partner.ends(heard.id)
    if (heard.kind === 'bye') outbox.leave(partner, heard.blob)
    runner.step({ kind: 'message', from: partner.id, message: heard })
    if (heard.kind !== 'bye') return
    const blob = heard.blob as Digest
    const entry = entries.of(blob)
    const acquaintance = partner.acquaintances.get(blob)
    if (acquaintance !== undefined) acquaintance.hasAnswered = true
    partner.part(blob)
    partner.unname(blob)
    entry?.fetched?.parted(partner.id)
    if (entry !== undefined) entries.look(entry)
  }

  #news(partner: Partner, { free, blobs }: News): News {
    const { entries } = this.#options
    partner.free = free
    const usable: BlobNews[] = []
    for (const news of blobs) {
      const acquaintance = partner.acquaintances.get(news.blob as Digest)
      if (acquaintance === undefined) continue
      const { entry } = acquaintance
      entries.use(entry)
      acquaintance.heard(news, (chunk, isWhole) => entry.fetched?.told(partner.id, chunk, isWhole))
      if (!entry.isOpening) usable.push({ blob: news.blob, log: partner.usableLog(entry.digest) })
    }
    return { free, blobs: usable }
  }
}

/** Entries of logs in a message. */
function entriesOf(message: WireMessage): number {
  if (message.kind !== 'plan' || !('news' in message.message)) return 0
  return message.message.news.blobs.reduce((sum, { log }) => sum + log.length, 0)
}
