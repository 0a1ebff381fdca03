import { createHash } from 'node:crypto'
import type { Ed25519PrivateKey } from '@libp2p/interface'
import type { Digest } from '../../proxy/oci/digest.ts'
import { hasSigned, Signer } from '../signature.ts'
import type { PeerId } from '../swarm/ports.ts'
import { stateBytes } from '../verify/state.ts'

/*
 * A list of checkpoints that is not complete is believed only from the node that reads the blob from upstream. Others pass its
 * states on, with its signature:
 *
 *   "layerd list 1\0" | size (8 bytes) | number of inner states known (4 bytes) | SHA-256 of those states (32 bytes) | digest (text)
 *
 * Integers are unsigned, with the most significant byte first. The tag keeps the signature from being taken for one of something else.
 */
const tag = Buffer.from('layerd list 1\0')
const sizeAt = tag.length
const knownAt = sizeAt + 8
const hashAt = knownAt + 4
const hashBytes = 32
const digestAt = hashAt + hashBytes

/** The inner states of a blob that are known, from the first on. */
export interface ListPrefix {
  readonly digest: Digest
  /** Bytes of the blob. */
  readonly size: number
  /** Number of states. */
  readonly known: number
  /** SHA-256 of the states: {@link ListHasher.digest}. */
  readonly hash: Uint8Array
}

/** Hashes the inner states of a list as they come. */
export class ListHasher {
  readonly #hash = createHash('sha256')
  #known = 0

  /** @param states the next ones, 32 bytes each @throws {RangeError} for parts of states */
  append(states: Uint8Array): void {
    const count = states.length / stateBytes
    if (!Number.isInteger(count)) throw new RangeError(`${states.length} bytes are not whole states`)
    this.#hash.update(states)
    this.#known += count
  }

  /** Number of states so far. */
  get known(): number {
    return this.#known
  }

  /** Of the states so far; more may follow. */
  digest(): Buffer {
    return this.#hash.copy().digest()
  }
}

/** Signs what this node has read from upstream. */
export class ListSigner {
  readonly self: PeerId
  readonly #signer: Signer

  /** @param self the PeerId of the key */
  constructor(key: Pick<Ed25519PrivateKey, 'raw' | 'publicKey'>, self: PeerId) {
    this.self = self
    this.#signer = new Signer(key, self)
  }

  /** @returns 64 bytes @throws {RangeError} for a hash, size or number that no list has */
  sign(prefix: ListPrefix): Uint8Array {
    return this.#signer.sign(signedBytes(prefix))
  }
}

/** Whether a peer has signed a prefix of a list. False for malformed arguments, and for peers with keys other than Ed25519. */
export function isSignedBy(peer: PeerId, prefix: ListPrefix, signature: Uint8Array): boolean {
  try {
    return hasSigned(peer, signedBytes(prefix), signature)
  } catch {
    return false
  }
}

function signedBytes({ digest, size, known, hash }: ListPrefix): Buffer {
  if (hash.length !== hashBytes) throw new RangeError(`a SHA-256 has ${hashBytes} bytes, not ${hash.length}`)
  const bytes = Buffer.alloc(digestAt + digest.length)
  tag.copy(bytes)
  bytes.writeBigUInt64BE(BigInt(size), sizeAt)
  bytes.writeUInt32BE(known, knownAt)
  bytes.set(hash, hashAt)
  bytes.write(digest, digestAt, 'latin1')
  return bytes
}
