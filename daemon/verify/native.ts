import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { assertWholeBlocks, initialState, type Sha256Engine, type Sha256State, WriteFailure } from './state.ts'

/** What native/sha256.c exports. */
interface Addon {
  advance(state: Sha256State, bytes: Uint8Array): Promise<Sha256State>
  /** Gives the errno where the file can't be written. */
  write(
    state: Sha256State,
    bytes: Uint8Array,
    start: number,
    end: number,
    file: number,
    position: number,
  ): Promise<Sha256State | number>
}

/** From the sources as well as from the compiled files in dist/daemon/verify. */
const nativeFolder = new URL(
  import.meta.url.endsWith('.ts') ? './native/' : '../../../daemon/verify/native/',
  import.meta.url,
)

/** Where an install puts the addon. */
export const addonFile = fileURLToPath(new URL('build/sha256.node', nativeFolder))

/** Builds it. */
export const buildScript = fileURLToPath(new URL('build.mjs', nativeFolder))

/**
 * SHA-256 by the OpenSSL that is part of Node.js, in libuv's thread pool.
 * @param file the addon
 * @throws {Error} where it was not built, can't be loaded into this Node.js, or gives wrong results in it
 */
export async function loadNativeEngine(file: string): Promise<Sha256Engine> {
  if (!existsSync(file)) throw new Error(`there is no ${file}`)
  const module: { exports: Partial<Addon> } = { exports: {} }
  process.dlopen(module, file)
  const { advance, write } = module.exports
  // One that was built for an earlier release may lack something.
  if (advance === undefined || write === undefined) throw new Error(`${file} is not layerd's`)
  await assertKnownAnswer(advance)
  return {
    name: 'native',
    async advance(state, bytes) {
      assertWholeBlocks(state, bytes)
      return advance(state, bytes)
    },
    async writeAndAdvance(state, bytes, { start, end }, place) {
      assertWholeBlocks(state, bytes.subarray(start, end))
      return place.writeBy(async (file, position) => {
        const after = await write(state, bytes, start, end, file, position)
        if (typeof after === 'number') throw new WriteFailure(after)
        return after
      })
    },
    async close() {},
  }
}

/** The addon declares OpenSSL's types by itself, so an OpenSSL in which they are different must be noticed. */
async function assertKnownAnswer(advance: Addon['advance']): Promise<void> {
  // Long enough for the thread pool, and with its padding (FIPS 180-4, 5.1.1) written out.
  const message = Buffer.alloc(64 * 1024, 'layerd')
  const padding = Buffer.alloc(64)
  padding[0] = 0x80
  padding.writeBigUInt64BE(BigInt(message.length) * 8n, 56)
  const state = await advance(await advance(initialState, message), padding)
  if (!createHash('sha256').update(message).digest().equals(state)) {
    throw new Error('its results are wrong in this Node.js')
  }
}
