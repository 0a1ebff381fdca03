import { peerIdFromMultihash, peerIdFromString } from '@libp2p/peer-id'
import { decode } from 'multiformats/hashes/digest'
import type { PeerId } from '../ports.ts'
import { MAX_PEER_ID_BYTES, MAX_PROVIDERS, REQUEST_BYTES } from './constants.ts'

export interface FindRequest {
  readonly id: number
  readonly key: Uint8Array
}

export interface FindAnswer {
  readonly id: number
  readonly providers: readonly PeerId[]
}

/** PeerIds as text: those that hold an Ed25519 or secp256k1 key, and SHA-256 hashes of RSA keys. */
const keyPattern = /^(?:1|Qm)/

/** A message at the start of a buffer, and how many bytes it has. */
export interface Decoded<T> {
  readonly message: T
  readonly length: number
}

/** Undefined where more bytes are needed. Throws where what comes can't be a message. */
export type Decode<T> = (bytes: Buffer) => Decoded<T> | undefined

export function encodeRequest({ id, key }: FindRequest): Uint8Array {
  const bytes = Buffer.allocUnsafe(REQUEST_BYTES)
  bytes.writeUInt32BE(id)
  bytes.set(key, 4)
  return bytes
}

/** Undefined where more bytes are needed. */
export function decodeRequest(bytes: Buffer): Decoded<FindRequest> | undefined {
  if (bytes.length < REQUEST_BYTES) return undefined
  return { message: { id: bytes.readUInt32BE(), key: bytes.subarray(4, REQUEST_BYTES) }, length: REQUEST_BYTES }
}

/** Number of the request, count of providers, and each one's multihash behind its length. */
export function encodeAnswer({ id, providers }: FindAnswer): Uint8Array {
  const head = Buffer.allocUnsafe(5)
  head.writeUInt32BE(id)
  head.writeUInt8(providers.length, 4)
  const names = providers.map((peer) => peerIdFromString(peer).toMultihash().bytes)
  return Buffer.concat([head, ...names.flatMap((name) => [Buffer.from([name.length]), name])])
}

/** Undefined where more bytes are needed. @throws {Error} where it is malformed or too long */
export function decodeAnswer(bytes: Buffer): Decoded<FindAnswer> | undefined {
  if (bytes.length < 5) return undefined
  const count = bytes.readUInt8(4)
  if (count > MAX_PROVIDERS) throw new Error(`an answer names ${count} providers; at most ${MAX_PROVIDERS} are allowed`)
  const providers: PeerId[] = []
  let at = 5
  for (let i = 0; i < count; i++) {
    const length = bytes[at]
    if (length === undefined) return undefined
    if (length > MAX_PEER_ID_BYTES) throw new Error(`a PeerId has ${length} bytes`)
    if (at + 1 + length > bytes.length) return undefined
    const provider = peerIdFromMultihash(decode(bytes.subarray(at + 1, at + 1 + length))).toString()
    // libp2p makes texts of hashes of other lengths, and of what is no key, that it can't read again.
    if (!keyPattern.test(provider)) throw new Error('a PeerId is that of no key')
    providers.push(provider)
    at += 1 + length
  }
  return { message: { id: bytes.readUInt32BE(), providers }, length: at }
}

/** Cuts a stream's bytes into messages; holds no more than the one that is not whole yet. */
export class Messages<T> {
  readonly #decode: Decode<T>
  #rest: Buffer = Buffer.alloc(0)

  constructor(decode: Decode<T>) {
    this.#decode = decode
  }

  /** Adds bytes, and gives the messages that are whole. @throws {Error} where one is malformed */
  *push(bytes: Uint8Array): Generator<T, void> {
    this.#rest = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes])
    for (let next = this.#decode(this.#rest); next !== undefined; next = this.#decode(this.#rest)) {
      this.#rest = this.#rest.subarray(next.length)
      yield next.message
    }
  }
}
