import { type KeyObject, sign, verify } from 'node:crypto'
import { Allowances } from '../limits/allowance.ts'
import type { PeerId } from '../ports.ts'
import { publicKeyOf } from '../signing.ts'
import { MAX_ORIGINS, NEW_ORIGINS, NEW_ORIGINS_PER_SECOND } from './constants.ts'
import type { SignedAsk } from './message.ts'

/*
 * What goes by way of others is signed by the node that it comes from:
 *
 *   "layerd route 1\0" | kind (1 byte) | number (8 bytes) | length of the receiver's PeerId (1 byte) | receiver | content
 *
 * Integers have the most significant byte first. An announcement has no receiver: it is for whoever is near. The tag keeps the signature
 * from being taken for one of something else.
 */
const tag = Buffer.from('layerd route 1\0')
const kinds = { tell: 1, place: 2, withdraw: 3 } as const
type Kind = keyof typeof kinds

/** What is to be signed: all but who signs. */
export type Unsigned<T extends SignedAsk = SignedAsk> = T extends SignedAsk
  ? Omit<T, 'origin' | 'number' | 'signature'>
  : never

/** Signs what this node says. Its numbers go up, over restarts, too, as they follow the clock. */
export class Signer {
  readonly #self: PeerId
  readonly #key: KeyObject
  #number = 0

  constructor(self: PeerId, key: KeyObject) {
    this.#self = self
    this.#key = key
  }

  sign(ask: Unsigned): SignedAsk {
    // Microseconds: several things may be said in one millisecond.
    this.#number = Math.max(this.#number + 1, Date.now() * 1_000)
    const numbered = { ...ask, origin: this.#self, number: this.#number, signature: new Uint8Array(0) } as SignedAsk
    return { ...numbered, signature: sign(null, signedBytes(numbered), this.#key) }
  }

  /** Another node has heard of a higher number: the clock went back. */
  goBeyond(number: number): void {
    this.#number = Math.max(this.#number, number)
  }
}

/** Whether the peer that is named as its origin has said it. */
export function isSigned(ask: SignedAsk): boolean {
  try {
    const key = publicKeyOf(ask.origin)
    return key !== undefined && verify(null, signedBytes(ask), key, ask.signature)
  } catch {
    return false
  }
}

/** What was heard of an origin last, and who brought it first. */
type Heard = Record<Kind, number> & { readonly from: PeerId }

/**
 * Numbers of what was heard of each origin: what is told a second time by somebody else is refused. Of announcements those of the same
 * action may come in any order, as they do the same again; one that undoes a later one is refused. Origins are forgotten in the share of
 * the peer that has brought the most, so that nobody makes a node forget what others brought.
 */
export class Numbers {
  /** The one heard of longest ago first. */
  readonly #last = new Map<PeerId, Heard>()
  /** How many of them each peer has brought. */
  readonly #brought = new Map<PeerId, number>()
  /** New origins that each peer may bring. */
  readonly #room = new Allowances({ most: NEW_ORIGINS, perSecond: NEW_ORIGINS_PER_SECOND, remembered: MAX_ORIGINS })

  /** Whether an origin may be heard of by way of a peer: one that is new takes some of the room that the peer has. */
  isRoomFor(origin: PeerId, from: PeerId): boolean {
    if (origin === from || this.#last.has(origin)) return true
    const room = this.#room.of(from)
    if (room.left < 1) return false
    return room.spend(1)
  }

  /** Takes a signed message from a peer. @returns the number that it is not above, or undefined where it is new */
  take(ask: SignedAsk, from: PeerId): number | undefined {
    const last = this.#last.get(ask.origin) ?? { tell: 0, place: 0, withdraw: 0, from }
    const kind = kindOf(ask)
    const bar = kind === 'tell' ? last.tell : kind === 'place' ? last.withdraw : last.place
    if (ask.number <= bar) return bar
    last[kind] = Math.max(last[kind], ask.number)
    if (!this.#last.delete(ask.origin)) this.#count(from, 1)
    this.#last.set(ask.origin, last)
    if (this.#last.size > MAX_ORIGINS) this.#forgetOne()
    return undefined
  }

  #count(from: PeerId, change: number): void {
    const count = (this.#brought.get(from) ?? 0) + change
    if (count === 0) this.#brought.delete(from)
    else this.#brought.set(from, count)
  }

  #forgetOne(): void {
    let most: PeerId | undefined
    for (const [peer, count] of this.#brought)
      if (most === undefined || count > (this.#brought.get(most) ?? 0)) most = peer
    for (const [origin, { from }] of this.#last) {
      if (from !== most) continue
      this.#last.delete(origin)
      this.#count(from, -1)
      return
    }
  }
}

function kindOf(ask: SignedAsk): Kind {
  return ask.kind === 'tell' ? 'tell' : ask.action
}

function signedBytes(ask: SignedAsk): Buffer {
  const head = Buffer.alloc(tag.length + 10)
  tag.copy(head)
  head.writeUInt8(kinds[kindOf(ask)], tag.length)
  head.writeBigUInt64BE(BigInt(ask.number), tag.length + 1)
  const receiver = Buffer.from(ask.kind === 'tell' ? ask.peer : '')
  head.writeUInt8(receiver.length, tag.length + 9)
  return Buffer.concat([head, receiver, ask.kind === 'tell' ? ask.payload : ask.keys])
}
