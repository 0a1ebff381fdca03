import { type KeyObject, sign, verify } from 'node:crypto'
import type { PeerId } from '../ports.ts'
import { publicKeyOf } from '../signing.ts'
import { MAX_ORIGINS } from './constants.ts'
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

/**
 * Numbers of what was heard of each origin: what is told a second time by somebody else is refused. Of announcements those of the same
 * action may come in any order, as they do the same again; one that undoes a later one is refused.
 */
export class Numbers {
  /** The one heard of longest ago first. */
  readonly #last = new Map<PeerId, Record<Kind, number>>()

  /** Takes a signed message. @returns the number that it is not above, or undefined where it is new */
  take(ask: SignedAsk): number | undefined {
    const last = this.#last.get(ask.origin) ?? { tell: 0, place: 0, withdraw: 0 }
    const kind = kindOf(ask)
    const bar = kind === 'tell' ? last.tell : kind === 'place' ? last.withdraw : last.place
    if (ask.number <= bar) return bar
    last[kind] = Math.max(last[kind], ask.number)
    this.#last.delete(ask.origin)
    this.#last.set(ask.origin, last)
    const [oldest] = this.#last.keys()
    if (this.#last.size > MAX_ORIGINS && oldest !== undefined) this.#last.delete(oldest)
    return undefined
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
