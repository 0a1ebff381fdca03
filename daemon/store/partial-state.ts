import { Bitfield } from '../verify/bitfield.ts'
import { quarterCount } from '../verify/quarter.ts'

/** Bytes of a checkpoint: a state of SHA-256. */
const stateBytes = 32

/** Says what the file is, and its version. The parts of a blob had another size before version 3: what an earlier one says is dropped. */
const magic = Buffer.from('layerd partial 3\n')
const sizeAt = magic.length
const bitsAt = sizeAt + 8

/** Repositories that are kept of one blob. */
const maxRepositories = 16

/** Who may have the bytes that are held, as far as is known. */
export interface PartialAccess {
  readonly public: boolean
  /** `registry/repository` that the blob was found in. */
  readonly repositories: readonly string[]
}

const unknownAccess: PartialAccess = { public: false, repositories: [] }

/**
 * What is kept beside the bytes of a partial blob: its size, which quarters are held, the checkpoints known, and at the end who
 * may have it. The bits are a hint: after a crash each quarter counts only when it was verified again, so they need not be durable
 * in any order. The access is not: where it can't be read, the bytes are private.
 */
export class PartialState {
  readonly size: number
  readonly held: Bitfield
  /** States 1 to n-1, 32 bytes each; zeros where one is not known. */
  readonly states: Uint8Array
  access: PartialAccess

  private constructor(size: number, held: Bitfield, states: Uint8Array, access: PartialAccess) {
    this.size = size
    this.held = held
    this.states = states
    this.access = access
  }

  static empty(size: number): PartialState {
    const quarters = quarterCount(size)
    return new PartialState(size, new Bitfield(quarters), new Uint8Array(stateBytes * (quarters - 1)), unknownAccess)
  }

  /** Undefined where the bytes are not the state of a blob of this size. */
  static decode(bytes: Buffer, size: number): PartialState | undefined {
    const quarters = quarterCount(size)
    const statesAt = bitsAt + Math.ceil(quarters / 8)
    const accessAt = statesAt + stateBytes * (quarters - 1)
    if (bytes.length < accessAt || !bytes.subarray(0, sizeAt).equals(magic)) return undefined
    if (bytes.readBigUInt64BE(sizeAt) !== BigInt(size)) return undefined
    try {
      const held = Bitfield.decode(bytes.subarray(bitsAt, statesAt), quarters)
      const states = Uint8Array.from(bytes.subarray(statesAt, accessAt))
      return new PartialState(size, held, states, decodeAccess(bytes.subarray(accessAt)))
    } catch {
      return undefined
    }
  }

  /** The size that a state file speaks of; undefined where it is none. */
  static sizeOf(bytes: Buffer): number | undefined {
    if (bytes.length < bitsAt || !bytes.subarray(0, sizeAt).equals(magic)) return undefined
    const size = Number(bytes.readBigUInt64BE(sizeAt))
    return Number.isSafeInteger(size) ? size : undefined
  }

  state(index: number): Uint8Array | undefined {
    const at = this.states.subarray((index - 1) * stateBytes, index * stateBytes)
    return at.length === stateBytes && at.some((byte) => byte !== 0) ? at : undefined
  }

  setState(index: number, state: Uint8Array): void {
    this.states.set(state, (index - 1) * stateBytes)
  }

  /** Bits and where they are in the file; they change most. */
  encodeBits(): { readonly bytes: Uint8Array; readonly position: number } {
    return { bytes: this.held.encode(), position: bitsAt }
  }

  /** States `from` up to and not including `to` (1 for the first), and where they are in the file. */
  encodeStates(from: number, to: number): { readonly bytes: Uint8Array; readonly position: number } {
    const start = (from - 1) * stateBytes
    const statesAt = bitsAt + Math.ceil(this.held.length / 8)
    return { bytes: this.states.subarray(start, (to - 1) * stateBytes), position: statesAt + start }
  }

  /** Who may have the bytes, and where that is in the file, which ends behind it. */
  encodeAccess(): { readonly bytes: Uint8Array; readonly position: number } {
    const { public: isPublic, repositories } = this.access
    const text = JSON.stringify({ public: isPublic, repositories: repositories.slice(-maxRepositories) })
    const statesAt = bitsAt + Math.ceil(this.held.length / 8)
    return { bytes: Buffer.from(text), position: statesAt + this.states.length }
  }

  encode(): Buffer {
    const head = Buffer.alloc(bitsAt)
    magic.copy(head)
    head.writeBigUInt64BE(BigInt(this.size), sizeAt)
    return Buffer.concat([head, this.held.encode(), this.states, this.encodeAccess().bytes])
  }
}

/** A crash may have left anything there. */
function decodeAccess(bytes: Buffer): PartialAccess {
  try {
    const { public: isPublic, repositories } = JSON.parse(bytes.toString())
    const isRight = Array.isArray(repositories) && repositories.every((one) => typeof one === 'string')
    return isRight ? { public: isPublic === true, repositories } : unknownAccess
  } catch {
    return unknownAccess
  }
}
