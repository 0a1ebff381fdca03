import { addonFile, buildScript, loadNativeEngine } from './native.ts'
import { PortableEngine } from './portable.ts'
import { blockBytes, type FilePlace, type Sha256Engine, type Sha256State } from './state.ts'

export { type FilePlace, initialState, type Sha256Engine, type Sha256State, WriteFailure } from './state.ts'

/**
 * The engine to use. Both give the same results.
 * @param which `auto` is the native one where an install could build it
 * @param onFallback is told why `auto` is the portable one
 * @param addon the native engine's file, for tests
 * @throws {Error} where `native` was asked for and can't be used; the message says what to do
 */
export async function loadEngine(
  which: 'auto' | 'native' | 'portable',
  onFallback?: (reason: string) => void,
  addon: string = addonFile,
): Promise<Sha256Engine> {
  if (which === 'portable') return PortableEngine.create()
  try {
    return await loadNativeEngine(addon)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (which === 'native') {
      const advice = `Install a C compiler (gcc or clang) and run: node ${buildScript}`
      throw new Error(`the native SHA-256 can't be used: ${reason}. ${advice}`, { cause: error })
    }
    onFallback?.(reason)
    return PortableEngine.create()
  }
}

/**
 * The digest (32 bytes) of a blob of `size` bytes that ends in `tail`.
 * @param state before `tail`
 * @param tail of any length; must not change until the promise settles
 * @param size bytes
 * @throws {RangeError} where what comes before `tail` is not whole blocks, and so has no state
 */
export async function finishState(
  engine: Sha256Engine,
  state: Sha256State,
  tail: Uint8Array,
  size: number,
): Promise<Uint8Array> {
  const before = size - tail.length
  if (!Number.isSafeInteger(size) || before < 0 || before % blockBytes !== 0) {
    throw new RangeError(`${tail.length} bytes can't be the end of ${size} after whole blocks`)
  }
  const rest = tail.length % blockBytes
  const whole = await engine.advance(state, tail.subarray(0, tail.length - rest))
  // FIPS 180-4, 5.1.1: a bit, zeros, and the length in bits, to the end of the block in which there is room for it.
  const padded = Buffer.alloc(rest + 9 > blockBytes ? 2 * blockBytes : blockBytes)
  padded.set(tail.subarray(tail.length - rest))
  padded[rest] = 0x80
  padded.writeBigUInt64BE(BigInt(size) * 8n, padded.length - 8)
  return engine.advance(whole, padded)
}

/** Hashes a quarter from the state before it, in pieces as they arrive. */
export class QuarterHasher {
  /** The state that it began with. */
  readonly before: Sha256State
  readonly #engine: Sha256Engine
  #state: Sha256State
  #length = 0
  /** The beginning of a block whose end has not arrived. */
  readonly #block = new Uint8Array(blockBytes)
  #blockLength = 0
  #ready = true

  constructor(engine: Sha256Engine, before: Sha256State) {
    this.#engine = engine
    this.before = before
    this.#state = before
  }

  /** Bytes so far. */
  get length(): number {
    return this.#length
  }

  /**
   * @param piece of any length; must not change until the promise settles
   * @param place where the piece is to be written as well
   * @throws {Error} before the last push has ended, and after one that failed; what `place` throws
   */
  async push(piece: Uint8Array, place?: FilePlace): Promise<void> {
    this.#assertReady()
    this.#ready = false
    let start = 0
    if (this.#blockLength > 0) {
      start = Math.min(blockBytes - this.#blockLength, piece.length)
      this.#keep(piece.subarray(0, start))
      if (this.#blockLength === blockBytes) {
        this.#state = await this.#engine.advance(this.#state, this.#block)
        this.#blockLength = 0
      }
    }
    const end = piece.length - ((piece.length - start) % blockBytes)
    await this.#advance(piece, start, end, place)
    this.#keep(piece.subarray(end))
    this.#length += piece.length
    this.#ready = true
  }

  async #advance(piece: Uint8Array, start: number, end: number, place: FilePlace | undefined): Promise<void> {
    if (place !== undefined && this.#engine.writeAndAdvance !== undefined) {
      this.#state = await this.#engine.writeAndAdvance(this.#state, piece, { start, end }, place)
      return
    }
    const hashing = end > start ? this.#engine.advance(this.#state, piece.subarray(start, end)) : this.#state
    const writing = place?.write(piece)
    // While one of them goes on, the piece is in use, though the other one has failed.
    await Promise.allSettled([hashing, writing])
    await writing
    this.#state = await hashing
  }

  /**
   * The state after all that was pushed.
   * @throws {Error} where that is not whole blocks
   */
  state(): Sha256State {
    this.#assertReady()
    if (this.#blockLength > 0) throw new Error(`there is no state after ${this.#length} bytes`)
    return this.#state
  }

  /**
   * The digest (32 bytes) of the blob, when what was pushed was its end.
   * @param size of the blob in bytes
   */
  async digest(size: number): Promise<Uint8Array> {
    this.#assertReady()
    return finishState(this.#engine, this.#state, this.#block.subarray(0, this.#blockLength), size)
  }

  #keep(bytes: Uint8Array): void {
    this.#block.set(bytes, this.#blockLength)
    this.#blockLength += bytes.length
  }

  #assertReady(): void {
    if (!this.#ready) throw new Error('a piece is still being hashed, or could not be')
  }
}
