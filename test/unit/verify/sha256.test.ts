import { createHash } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { chunkBytes } from '../../../daemon/verify/quarter.ts'
import {
  type FilePlace,
  finishState,
  initialState,
  QuarterHasher,
  type Sha256Engine,
} from '../../../daemon/verify/sha256.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'
import { engineNames, useEngines, withoutNative } from './engines.ts'

const bytes = pseudoRandomBytes(2 * chunkBytes + 4096)

const sha256 = (message: Uint8Array) => createHash('sha256').update(message).digest()

const around = (center: number) => [-65, -64, -63, -9, -8, -1, 0, 1, 55, 56, 63, 64, 65].map((by) => center + by)

/** Around the lengths at which something changes: blocks, what is done in the calling thread, and quarters. */
const lengths = [64, 128, 4096, 16_384, chunkBytes, 2 * chunkBytes]
  .flatMap(around)
  .concat(0)
  .filter((length) => length >= 0)

const anyLength = fc.oneof(fc.constantFrom(...lengths), fc.nat(300_000))

const engineOf = useEngines()

describe.each(engineNames)('the %s engine', (name) => {
  describe.skipIf(name === 'native' && withoutNative)('where it can run (native: with a C compiler)', () => {
    let engine: Sha256Engine
    beforeAll(async () => {
      engine = await engineOf(name)
    })

    it('is what was asked for', () => {
      expect(engine.name).toBe(name)
    })

    it('gives the digests of node:crypto at every border', async () => {
      for (const length of new Set(lengths)) {
        const blob = bytes.subarray(0, length)
        const digest = await finishState(engine, initialState, blob, length)
        expect(sha256(blob).equals(digest), `${length} bytes`).toBe(true)
      }
    })

    it('has a state at every block, from which the rest leads to the digest', async () => {
      await fc.assert(
        fc.asyncProperty(anyLength, fc.nat(), async (length, seed) => {
          const cut = Math.floor((seed % (length + 1)) / 64) * 64
          const state = await engine.advance(initialState, bytes.subarray(0, cut))
          const digest = await finishState(engine, state, bytes.subarray(cut, length), length)
          expect(sha256(bytes.subarray(0, length)).equals(digest)).toBe(true)
        }),
        { numRuns: 60 },
      )
    })

    it('gives the same for any pieces', async () => {
      const pieces = fc.array(fc.oneof(fc.nat(200), fc.constantFrom(64, 128, 65_536), fc.nat(100_000)), {
        maxLength: 12,
      })
      await fc.assert(
        fc.asyncProperty(pieces, async (sizes) => {
          const hasher = new QuarterHasher(engine, initialState)
          let end = 0
          for (const size of sizes) {
            // Memory that is used again when the push has ended.
            const piece = Uint8Array.from(bytes.subarray(end, end + size))
            await hasher.push(piece)
            piece.fill(0xee)
            end += size
          }
          expect(hasher.length).toBe(end)
          const blob = bytes.subarray(0, end)
          expect(sha256(blob).equals(await hasher.digest(end))).toBe(true)
          if (end % 64 === 0) expect(hasher.state()).toEqual(await engine.advance(initialState, blob))
          else expect(() => hasher.state()).toThrow('no state')
        }),
        { numRuns: 60 },
      )
    })

    it('keeps many calls at a time apart', async () => {
      const cuts = Array.from({ length: 40 }, (_, index) => index * 33_333)
      const digests = await Promise.all(
        cuts.map((cut) => finishState(engine, initialState, bytes.subarray(0, cut), cut)),
      )
      const right = cuts.map((cut, index) => sha256(bytes.subarray(0, cut)).equals(digests[index] ?? new Uint8Array()))
      expect(right).not.toContain(false)
    })

    it('leaves the state and the bytes that it is given as they are', async () => {
      const state = Uint8Array.from(initialState)
      const message = Uint8Array.from(bytes.subarray(0, 65_536))
      const first = await engine.advance(state, message)
      const kept = Uint8Array.from(first)
      await engine.advance(first, message)
      expect(state).toEqual(initialState)
      expect(bytes.subarray(0, 65_536).equals(message)).toBe(true)
      expect(first).toEqual(kept)
    })

    it('takes views of larger memory, also for the state', async () => {
      const memory = new Uint8Array(32 + 131_072 + 7)
      memory.set(initialState, 7)
      memory.set(bytes.subarray(0, 131_072), 39)
      const state = await engine.advance(memory.subarray(7, 39), memory.subarray(39))
      expect(state).toEqual(await engine.advance(initialState, bytes.subarray(0, 131_072)))
      expect(state.buffer.byteLength).toBe(32)
    })

    it('does not hold up the main thread', async () => {
      let ticks = 0
      const timer = setInterval(() => ticks++, 1)
      const large = Buffer.alloc(64 * chunkBytes)
      await engine.advance(initialState, large)
      clearInterval(timer)
      // It takes tens of ms at least; a main thread that did it itself would see no tick at all.
      expect(ticks).toBeGreaterThan(0)
    })

    it('refuses what is no state or no whole blocks', async () => {
      await expect(engine.advance(initialState, bytes.subarray(0, 63))).rejects.toThrow(RangeError)
      await expect(engine.advance(initialState.subarray(1), bytes.subarray(0, 64))).rejects.toThrow(RangeError)
    })

    it('refuses an end that can not be one', async () => {
      const tail = bytes.subarray(0, 100)
      for (const size of [99, 101, 163, Number.NaN, 2 ** 60]) {
        await expect(finishState(engine, initialState, tail, size)).rejects.toThrow(RangeError)
      }
    })

    it('writes what it hashes, pieces of any length', async () => {
      const path = join(await tempDir(), 'file')
      await using file = await open(path, 'w+')
      const place = (position: number): FilePlace => ({
        write: async (piece) => void (await file.write(piece, 0, piece.length, position)),
        writeBy: (write) => write(file.fd, position),
      })
      const hasher = new QuarterHasher(engine, initialState)
      const sizes = [1, 62, 1, 200, 0, 131_072, 7, 300_000, chunkBytes]
      let end = 0
      for (const size of sizes) {
        const piece = Uint8Array.from(bytes.subarray(end, end + size))
        await hasher.push(piece, place(10 + end))
        piece.fill(0xee)
        end += size
      }
      const blob = bytes.subarray(0, end)
      expect(sha256(blob).equals(await hasher.digest(end))).toBe(true)
      expect((await readFile(path)).subarray(10).equals(blob)).toBe(true)
    })

    it.runIf(name === 'native')('says as node:fs does why it could not write', async () => {
      const push = async (path: string, flags: string) => {
        await using file = await open(path, flags)
        const place: FilePlace = { write: async () => {}, writeBy: (write) => write(file.fd, 0) }
        await new QuarterHasher(engine, initialState).push(bytes, place)
      }
      const full = { code: 'ENOSPC', syscall: 'write', message: 'ENOSPC: no space left on device, write' }
      if (process.platform === 'linux') await expect(push('/dev/full', 'r+')).rejects.toMatchObject(full)
      await expect(push('/dev/null', 'r')).rejects.toMatchObject({ code: 'EBADF', message: /^EBADF: .*, write$/ })
    })

    it('hashes one piece of a quarter after the other', async () => {
      const hasher = new QuarterHasher(engine, initialState)
      const push = hasher.push(bytes.subarray(0, 65_536))
      expect(() => hasher.state()).toThrow('still being hashed')
      await expect(hasher.push(bytes)).rejects.toThrow('still being hashed')
      await push
      expect(hasher.length).toBe(65_536)
    })
  })
})
