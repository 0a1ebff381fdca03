import { getSystemErrorMessage, getSystemErrorName } from 'node:util'

/** SHA-256 chaining value after a whole number of 64-byte blocks: 32 bytes, eight big-endian words (FIPS 180-4). */
export type Sha256State = Uint8Array

/** Bytes. */
export const stateBytes = 32

/** Bytes. */
export const blockBytes = 64

/** The state before the first byte (FIPS 180-4, 5.3.3). */
export const initialState: Sha256State = Uint8Array.from(
  Buffer.from('6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19', 'hex'),
)

/** A place in a file, for bytes that are hashed. Whoever owns the file offers it. */
export interface FilePlace {
  /** Writes bytes from there on; they must not change until the promise settles. */
  write(bytes: Uint8Array): Promise<void>
  /**
   * Lets `write` do so by itself; the file stays open until it settles.
   * @param write rejects with a {@link WriteFailure} where it can't
   */
  writeBy<T>(write: (file: number, position: number) => Promise<T>): Promise<T>
}

/** An engine could not write; as the errors of node:fs are. */
export class WriteFailure extends Error {
  readonly errno: number
  readonly code: string
  readonly syscall = 'write'

  /** @param errno as the system gives it: a positive number */
  constructor(errno: number) {
    const code = getSystemErrorName(-errno)
    super(`${code}: ${getSystemErrorMessage(-errno)}, write`)
    this.name = 'WriteFailure'
    this.errno = -errno
    this.code = code
  }
}

/** Bytes of an array, without the one at `end`. */
interface BytePart {
  readonly start: number
  readonly end: number
}

/** Compresses whole blocks off the main thread. */
export interface Sha256Engine {
  readonly name: 'native' | 'portable'
  /**
   * The state after `bytes`, which must not change until the promise settles. Any number of calls may run at a time.
   * @param bytes a multiple of 64 bytes, which may be 0
   * @throws {RangeError} for other lengths
   */
  advance(state: Sha256State, bytes: Uint8Array): Promise<Sha256State>
  /**
   * As `advance` for the bytes from `start` to `end`, and writes all of `bytes` to a file, both at the cost of one call.
   * Engines that can't write have no such method.
   * @throws {WriteFailure} where the file can't be written
   */
  writeAndAdvance?(state: Sha256State, bytes: Uint8Array, part: BytePart, place: FilePlace): Promise<Sha256State>
  /** Ends what runs in the background. What is still being computed may be rejected; the engine can't be used again. */
  close(): Promise<void>
}

export function assertWholeBlocks(state: Sha256State, bytes: Uint8Array): void {
  if (state.length !== stateBytes) throw new RangeError(`a SHA-256 state has ${stateBytes} bytes, not ${state.length}`)
  if (bytes.length % blockBytes !== 0) throw new RangeError(`${bytes.length} bytes are not whole blocks`)
}

export function sameState(a: Sha256State, b: Sha256State): boolean {
  return Buffer.compare(a, b) === 0
}
