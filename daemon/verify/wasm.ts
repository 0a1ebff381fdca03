import { createSHA256 } from 'hash-wasm'
import { initialState, type Sha256State, stateBytes } from './state.ts'

/** Compresses whole blocks in this very thread. */
export type Compress = (state: Sha256State, bytes: Uint8Array) => Sha256State

/**
 * What hash-wasm's `save()` gives (src/sha256.c there): 4 bytes that name the build, the 64 bytes of an unfinished block, the
 * number of bytes so far (64 bits), the state, and the length of the digest. WebAssembly is little-endian.
 */
const stateStart = 4 + 64 + 8

/**
 * SHA-256 in WebAssembly.
 * @throws {Error} where hash-wasm saves its state in another way than is known here
 */
export async function createCompress(): Promise<Compress> {
  const hasher = await createSHA256()
  // Everything but the state is taken from here: the build's name, and no bytes so far. Of their number only the rest modulo
  // 64 counts, as the padding is not hash-wasm's task.
  const saved = hasher.init().save()
  const savedState = saved.subarray(stateStart, stateStart + stateBytes)
  if (Buffer.compare(Buffer.from(savedState).swap32(), initialState) !== 0) {
    throw new Error('hash-wasm saves its state in an unknown way')
  }
  return (state, bytes) => {
    savedState.set(Buffer.from(state).swap32())
    const after = hasher.load(saved).update(bytes).save()
    return Uint8Array.from(Buffer.from(after.buffer, stateStart, stateBytes).swap32())
  }
}
