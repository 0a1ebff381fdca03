import type { Digest } from '../../proxy/oci/digest.ts'
import { Allowance, Allowances } from '../swarm/limits/allowance.ts'
import type { PeerId } from '../swarm/ports.ts'
import { Acquaintance } from './acquaintance.ts'
import type { SharedEntry } from './entry.ts'
import type { BlobId, LogEntry } from './plan/messages.ts'
import type { Event } from './plan/steps.ts'
import { MAX_LOG_ENTRIES_PER_FRAME } from './wire/limits.ts'

/** Blobs that a peer may speak of at the same time. */
const MAX_BLOBS = 4_096

/** How long a peer that was named may take to say what it has of a blob, in ms, before it counts as one that has nothing. */
const ANSWER_MS = 5_000
/**
 * Questions that may bring something at the same time. The plan asks a peer ahead once, and so has two; what an earlier one brings
 * after these is not taken.
 */
const MAX_COMING = 4

/** Messages that a peer may send at once. Above it the link ends: each one costs up to 0.1 ms. */
const MAX_MESSAGES = 20_000

/** Those that it may send each second besides, whatever it does: a tenth of this node's time. */
const MESSAGES_PER_SECOND = 1_000

/** And for each part that moves: peers that exchange chunks send some 10. */
const MESSAGES_PER_PART = 16

/**
 * Entries of logs that it may tell each second after those of one frame: far more than there is news of on the fastest line, and 2 ms
 * of work. Without this bound 160 bytes cost 30 ms, again and again.
 */
const LOG_ENTRIES_PER_SECOND = 65_536

/** Peers of which it is remembered how much they may still send. */
const MAX_REMEMBERED = 4_096

/** How much a peer may send. */
interface Sends {
  readonly messages: Allowance
  readonly entries: Allowance
}

/** The chunk that is the answer to a question. */
export interface Coming {
  readonly blob: Digest
  readonly chunk: number
}

/** A peer that this node has a link with, or is about to. */
export class Partner {
  readonly id: PeerId
  readonly acquaintances = new Map<Digest, Acquaintance>()
  /** Free sending places, as it told last, less the questions asked since. */
  free = 0
  /** What each question that is open brings, once the peer has said it. */
  readonly #coming = new Map<number, PromiseWithResolvers<Coming | undefined> & { blob?: BlobId }>()
  /** When bytes of a part came or left last, in ms of {@link Clock}. */
  readonly movedAt = { in: Number.NEGATIVE_INFINITY, out: Number.NEGATIVE_INFINITY }
  /** Blobs by the numbers under which the peer speaks of them, and its last number of each. */
  readonly #names = new Map<number, Digest>()
  readonly #numbers = new Map<Digest, number>()
  readonly #messages: Allowance
  readonly #entries: Allowance
  #lastNumber = 0
  readonly #canGive: (peer: PeerId) => boolean

  /** @param canGive whether its port is not known to be closed */
  constructor(id: PeerId, canGive: (peer: PeerId) => boolean = () => true, sends: Sends = newSends()) {
    this.id = id
    this.#canGive = canGive
    this.#messages = sends.messages
    this.#entries = sends.entries
  }

  /** The blob of which the peer speaks by a number. */
  blobOf(number: number): Digest | undefined {
    return this.#names.get(number)
  }

  /** It has sent a message. @param entries of the logs in it @throws {RangeError} where it sends too much */
  sends(entries: number): void {
    if (!this.#messages.spend(1)) throw new RangeError('the peer sends too many messages')
    if (entries > 0 && !this.#entries.spend(entries)) throw new RangeError('the peer tells too often of chunks')
  }

  /** Bytes of a part came or left. @param parts how many parts they are @param now in ms of {@link Clock} */
  moves(direction: 'in' | 'out', parts: number, now: number): void {
    this.movedAt[direction] = now
    this.#messages.earn(parts * MESSAGES_PER_PART)
  }

  /** It gives a blob one number at a time. @throws {RangeError} where it speaks of too many blobs */
  name(number: number, digest: Digest): void {
    const before = this.#names.get(number)
    if (before !== undefined) this.unname(before)
    this.unname(digest)
    if (this.#names.size >= MAX_BLOBS) throw new RangeError(`the peer speaks of more than ${MAX_BLOBS} blobs`)
    this.#names.set(number, digest)
    this.#numbers.set(digest, number)
  }

  /** A question was asked. */
  asks(id: number): void {
    this.free = Math.max(0, this.free - 1)
    for (const oldest of this.#coming.keys()) if (this.#coming.size >= MAX_COMING) this.ends(oldest)
    this.#coming.set(id, Promise.withResolvers())
  }

  /** The peer says what it sends. */
  brings(id: number, coming: Coming): void {
    const asked = this.#coming.get(id)
    if (asked === undefined) return
    asked.blob = coming.blob
    asked.resolve(coming)
  }

  /** An answer has come to its end, or does not come. */
  ends(id: number): void {
    this.#coming.get(id)?.resolve(undefined)
    this.#coming.delete(id)
  }

  /** What an answer brings: its first bytes may be here before the message that says it. Undefined where it was given up. */
  async coming(id: number): Promise<Coming | undefined> {
    const asked = this.#coming.get(id)
    const coming = await asked?.promise
    return this.#coming.get(id) === asked ? coming : undefined
  }

  /**
   * Nothing of a blob comes any more, as one of the two takes no part in it; nor what is not known yet, where both speak of no other
   * one. The plan ends the same ones.
   * @returns the questions
   */
  drops(blob: BlobId): number[] {
    const isLast = [...this.acquaintances.keys()].every((one) => one === blob)
    const dropped = [...this.#coming].filter(([, asked]) => asked.blob === blob || (isLast && asked.blob === undefined))
    for (const [id] of dropped) this.ends(id)
    return dropped.map(([id]) => id)
  }

  /** Nothing comes any more. */
  close(): void {
    for (const id of [...this.#coming.keys()]) this.ends(id)
  }

  /** The peer and this node speak of a blob. */
  meet(entry: SharedEntry): Acquaintance {
    const known = this.acquaintances.get(entry.digest)
    if (known?.entry === entry) return known
    const acquaintance = new Acquaintance(entry, ++this.#lastNumber)
    this.acquaintances.set(entry.digest, acquaintance)
    entry.peers.add(this.id)
    return acquaintance
  }

  /** What it told of a blob and the plan was not told, as it could not be used until now. */
  usable(digest: Digest): Event & { readonly log: readonly number[] } {
    const log = this.usableLog(digest)
    const news = { free: this.free, blobs: [{ blob: digest, log }] }
    return { kind: 'message', from: this.id, message: { kind: 'news', news }, log }
  }

  /** The same as entries of a log. For a fetch there is none where nothing can be had of the peer. */
  usableLog(digest: Digest): LogEntry[] {
    const acquaintance = this.acquaintances.get(digest)
    if (acquaintance === undefined || (acquaintance.entry.fetched !== undefined && !this.#canGive(this.id))) return []
    return acquaintance.usable()
  }

  /** They do so no more. */
  part(digest: Digest): void {
    this.acquaintances.get(digest)?.entry.peers.delete(this.id)
    this.acquaintances.delete(digest)
  }

  /** The peer will not speak of a blob by its number any more. */
  unname(digest: Digest): void {
    const number = this.#numbers.get(digest)
    if (number !== undefined) this.#names.delete(number)
    this.#numbers.delete(digest)
  }
}

function newSends(): Sends {
  return {
    messages: new Allowance(MAX_MESSAGES, MESSAGES_PER_SECOND),
    entries: new Allowance(MAX_LOG_ENTRIES_PER_FRAME, LOG_ENTRIES_PER_SECOND),
  }
}

/** The peers that blobs are shared with. */
export class Partners extends Map<PeerId, Partner> {
  readonly #canGive: (peer: PeerId) => boolean
  /** They outlive links: a peer that was cut off does not begin anew. */
  readonly #messages = new Allowances({
    most: MAX_MESSAGES,
    perSecond: MESSAGES_PER_SECOND,
    remembered: MAX_REMEMBERED,
  })
  readonly #entries = new Allowances({
    most: MAX_LOG_ENTRIES_PER_FRAME,
    perSecond: LOG_ENTRIES_PER_SECOND,
    remembered: MAX_REMEMBERED,
  })

  constructor(canGive: (peer: PeerId) => boolean = () => true) {
    super()
    this.#canGive = canGive
  }

  of(id: PeerId): Partner {
    let partner = this.get(id)
    if (partner === undefined) {
      partner = new Partner(id, this.#canGive, { messages: this.#messages.of(id), entries: this.#entries.of(id) })
      this.set(id, partner)
    }
    return partner
  }

  /** Whether one of them has not said yet what it has of a blob, and may still do so. */
  mayAnswer(entry: SharedEntry): boolean {
    const oldest = performance.now() - ANSWER_MS
    for (const [, { hasAnswered, metAt }] of this.acquaintances(entry)) if (!hasAnswered && metAt > oldest) return true
    return false
  }

  /** Who speaks of a blob here, and what was said of it. */
  *acquaintances({ digest, peers }: SharedEntry): Generator<readonly [Partner, Acquaintance]> {
    for (const peer of peers) {
      const partner = this.get(peer)
      const acquaintance = partner?.acquaintances.get(digest)
      if (partner !== undefined && acquaintance !== undefined) yield [partner, acquaintance]
    }
  }
}
