import type { BlobNews, Message, News, Wish } from '../../../../daemon/share/plan/messages.ts'
import type { Introduction, ListPart, WireMessage } from '../../../../daemon/share/wire/wire-message.ts'
import { type Digest, digestOf } from '../../../../proxy/oci/digest.ts'

/** Numbers of blobs on a link, for both of its ends. */
export class Numbering {
  readonly #digests: readonly Digest[]

  /** @param blobs how many there are, numbered from 1 on */
  constructor(blobs: number) {
    this.#digests = Array.from({ length: blobs }, (_, index) =>
      digestOf(Buffer.from(`blob ${index}`), index % 5 === 4 ? 'sha512' : 'sha256'),
    )
  }

  readonly blobOf = (number: number): Digest | undefined => this.#digests[number - 1]

  readonly numberOf = (blob: string): number => this.#digests.indexOf(blob as Digest) + 1

  digest(number: number): Digest {
    const digest = this.blobOf(number)
    if (digest === undefined) throw new RangeError(`no blob ${number}`)
    return digest
  }
}

/** 0 up to 1; the same sequence for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Messages at random, within the bounds, as the reader gives them back. */
export class Samples {
  readonly #random: () => number
  readonly #numbering: Numbering
  readonly #blobs: number

  constructor(seed: number, numbering: Numbering, blobs: number) {
    this.#random = randomFrom(seed)
    this.#numbering = numbering
    this.#blobs = blobs
  }

  message(): WireMessage {
    const kind = this.#below(12)
    if (kind === 0) return this.#introduction()
    if (kind === 1) return this.#listPart()
    if (kind === 2) return { kind: 'retract', number: this.#number() }
    return { kind: 'plan', message: this.#planMessage(kind) }
  }

  #planMessage(kind: number): Message {
    const [id, news] = [this.#id(), this.#news()]
    if (kind === 3) return { kind: 'leave', id }
    if (kind === 4) return { kind: 'cut', id }
    if (kind === 5) return { kind: 'bye', blob: this.#blob() }
    if (kind === 6) return { kind: 'busy', id, news }
    if (kind === 7) return { kind: 'none', id, news }
    if (kind === 8) return { kind: 'head', id, blob: this.#blob(), chunk: this.#chunk(), quarter: this.#below(4), news }
    if (kind === 9) return { kind: 'news', news }
    const wishes = this.#numbers().map((number) => this.#wish(number))
    const oldest = this.#below(2) === 0 ? undefined : { blob: this.#blob(), from: this.#below(65_537) }
    return { kind: 'ask', id, news, wishes, oldest }
  }

  #news(): News {
    const blobs = this.#numbers().map((number) => ({ blob: this.#numbering.digest(number), log: this.#log() }))
    return { free: this.#below(5), blobs }
  }

  /** Ascending; each chunk once. */
  #log(): BlobNews['log'] {
    const log: number[] = []
    let chunk = this.#below(3) === 0 ? this.#chunk() : 0
    const stride = 1 + this.#below(3)
    for (let left = this.#below(6) === 0 ? this.#below(300) : this.#below(4); left > 0 && chunk < 65_536; left--) {
      log.push(this.#below(3) === 0 ? chunk : ~chunk)
      chunk += 1 + this.#below(stride)
    }
    return log
  }

  #wish(number: number): Wish {
    const chunks = (max: number) => Array.from({ length: this.#below(max) }, () => this.#chunk())
    const broken = new Map(chunks(4).map((chunk) => [chunk, this.#below(4)]))
    return {
      blob: this.#numbering.digest(number),
      first: this.#below(65_537),
      coming: chunks(5),
      late: chunks(3),
      broken,
    }
  }

  #introduction(): Introduction {
    const number = this.#number()
    const digest = this.#numbering.digest(number)
    if (this.#below(4) === 0) return { kind: 'intro', number, digest, facts: undefined }
    const size = this.#below(2 ** 36 + 1)
    const mediaType = this.#below(2) === 0 ? undefined : 'application/vnd.oci.image.layer.v1.tar+gzip'
    const facts = { size, mediaType, access: 'public', repositories: [] } as const
    if (this.#below(2) === 0) return { kind: 'intro', number, digest, facts }
    const repositories = Array.from({ length: this.#below(9) }, (_, index) => `registry.test/réseau/${index}`)
    return { kind: 'intro', number, digest, facts: { ...facts, access: 'private', repositories } }
  }

  #listPart(): ListPart {
    const states = Buffer.alloc(32 * this.#below(5), this.#below(256))
    const bytes = Buffer.alloc(64, this.#below(256))
    const signature = this.#below(2) === 0 ? undefined : { signer: '12D3KooWsigner', bytes }
    return { kind: 'list', number: this.#number(), from: this.#below(2 ** 18 - 5), states, signature }
  }

  /** Some blobs, each once. */
  #numbers(): number[] {
    const numbers = new Set<number>()
    for (let left = this.#below(4); left > 0; left--) numbers.add(this.#number())
    return [...numbers]
  }

  #blob(): Digest {
    return this.#numbering.digest(this.#number())
  }

  #number(): number {
    return 1 + this.#below(this.#blobs)
  }

  #id(): number {
    return this.#below(2) === 0 ? this.#below(300) : this.#below(2 ** 32)
  }

  #chunk(): number {
    return this.#below(2) === 0 ? this.#below(200) : this.#below(65_536)
  }

  #below(end: number): number {
    return Math.floor(this.#random() * end)
  }
}
