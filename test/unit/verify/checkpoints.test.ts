import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { checkQuarter, divergence, firstDivergence } from '../../../daemon/verify/check-quarter.ts'
import {
  type ClaimedCheckpoints,
  computeCheckpoints,
  decodeCheckpoints,
  GrowingCheckpoints,
  Proof,
  type ProvenCheckpoints,
  restoreCheckpoints,
} from '../../../daemon/verify/checkpoints.ts'
import { type Link, linkOf, verdictOf } from '../../../daemon/verify/link.ts'
import { DigestMismatch } from '../../../daemon/verify/mismatch.ts'
import {
  chunkBytes,
  chunkCount,
  quarterBytes,
  quarterCount,
  quarterLength,
  quartersPerChunk,
} from '../../../daemon/verify/quarter.ts'
import { initialState, QuarterHasher, type Sha256Engine, type Sha256State } from '../../../daemon/verify/sha256.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { engineNames, useEngines, withoutNative } from './engines.ts'

const blob = pseudoRandomBytes(3 * quarterBytes + 12_345)
const digest = digestOf(blob)
const quarterOf = (bytes: Buffer, index: number) => bytes.subarray(index * quarterBytes, (index + 1) * quarterBytes)

const indices = [0, 1, 2, 3]
const linksOf = (list: { quarters: number }) => Array.from({ length: list.quarters }, (_, index) => index)

function flipped(bytes: Uint8Array, position: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[position] = (copy[position] ?? 0) ^ 1
  return copy
}

const engineOf = useEngines()

describe('quarters of a blob', () => {
  it('add up to it', () => {
    fc.assert(
      fc.property(fc.nat(50 * quarterBytes), (size) => {
        const sizes = linksOf({ quarters: quarterCount(size) }).map((index) => quarterLength(index, size))
        expect(sizes.reduce((sum, length) => sum + length, 0)).toBe(size)
        expect(size === 0 || Math.min(...sizes) > 0).toBe(true)
        expect(quarterLength(sizes.length, size)).toBe(0)
      }),
    )
    expect([0, 1, quarterBytes, quarterBytes + 1].map(quarterCount)).toEqual([1, 1, 1, 2])
    for (const size of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => quarterCount(size)).toThrow(RangeError)
      expect(() => chunkCount(size)).toThrow(RangeError)
    }
  })

  it('make up its chunks, four each but for the last', () => {
    fc.assert(
      fc.property(fc.nat(50 * chunkBytes), (size) => {
        expect(chunkCount(size)).toBe(Math.ceil(quarterCount(size) / quartersPerChunk))
      }),
    )
    expect(chunkBytes).toBe(quartersPerChunk * quarterBytes)
  })
})

describe.each(engineNames)('checkpoints by the %s engine', (name) => {
  describe.skipIf(name === 'native' && withoutNative)('where it can run (native: with a C compiler)', () => {
    let engine: Sha256Engine
    let truth: ProvenCheckpoints
    beforeAll(async () => {
      engine = await engineOf(name)
      truth = await computeCheckpoints(engine, digest, blob.length, piecesOf(blob, 65_537))
    })

    const verdicts = (list: ClaimedCheckpoints | ProvenCheckpoints, bytes: Buffer) =>
      Promise.all(linksOf(list).map((index) => checkQuarter(engine, list, index, quarterOf(bytes, index))))

    /** The list of a liar: `false` bytes from quarter `from` on, and the truth from state `to` on. */
    async function falseList(from: number, to: number): Promise<ClaimedCheckpoints> {
      const states = truth.encode()
      let state = truth.stateAt(from)
      for (let index = from; index + 1 < to; index++) {
        state = await engine.advance(state, quarterOf(flipped(blob, from * quarterBytes), index))
        states.set(state, index * 32)
      }
      return decodeCheckpoints(digest, blob.length, states)
    }

    it('are the same for any pieces, and each quarter fits along them', async () => {
      for (const size of [1000, 262_144, quarterBytes, 2 * quarterBytes + 1]) {
        const list = await computeCheckpoints(engine, digest, blob.length, piecesOf(blob, size))
        expect(list.encode()).toEqual(truth.encode())
      }
      expect(await verdicts(truth, blob)).toEqual(['fits', 'fits', 'fits', 'fits'])
    })

    it.each([0, 1, 63, 64, quarterBytes - 1, quarterBytes, quarterBytes + 1, 2 * quarterBytes])(
      'of %i bytes',
      async (size) => {
        const bytes = blob.subarray(0, size)
        const list = await computeCheckpoints(engine, digestOf(bytes), size, piecesOf(bytes, 300_000))
        expect(list.encode().length).toBe(32 * (quarterCount(size) - 1))
        expect(await verdicts(list, bytes)).toEqual(linksOf(list).map(() => 'fits'))
        for (const index of linksOf(list).filter((link) => quarterLength(link, size) > 0)) {
          expect(await checkQuarter(engine, list, index, flipped(quarterOf(bytes, index), 0))).toBe('wrong')
        }
        expect(await checkQuarter(engine, list, list.quarters - 1, quarterOf(blob, 0).subarray(0, 500))).toBe('wrong')
      },
    )

    it('of other bytes than the digest names are not computed', async () => {
      const compute = (bytes: Buffer, size: number) =>
        computeCheckpoints(engine, digest, size, piecesOf(bytes, 400_000))
      const longer = Buffer.concat([blob, blob])
      for (const bytes of [flipped(blob, 0), flipped(blob, blob.length - 1), blob.subarray(1), longer]) {
        await expect(compute(bytes, blob.length)).rejects.toThrow(DigestMismatch)
        await expect(compute(bytes, bytes.length)).rejects.toThrow(DigestMismatch)
      }
      for (const size of [blob.length - 1, blob.length + quarterBytes, 0]) {
        await expect(compute(blob, size)).rejects.toThrow(RangeError)
      }
    })

    it.each(indices)('show that quarter %i is wrong, and no other', async (wrong) => {
      const last = Math.min((wrong + 1) * quarterBytes, blob.length) - 1
      for (const position of [wrong * quarterBytes, last]) {
        expect(await verdicts(truth, flipped(blob, position))).toEqual(
          indices.map((index) => (index === wrong ? 'wrong' : 'fits')),
        )
      }
    })

    it.each([1, 2, 3])('in which state %i is false fit neither before nor after it', async (position) => {
      const list = decodeCheckpoints(digest, blob.length, flipped(truth.encode(), position * 32 - 1))
      expect(await verdicts(list, blob)).toEqual(
        indices.map((index) => (index === position || index === position - 1 ? 'wrong' : 'fits')),
      )
    })

    const lies = indices.flatMap((from) => indices.filter((to) => to > from).map((to) => [from, to + 1] as const))
    it.each(lies)('false from quarter %i to state %i: one quarter names the liar', async (from, to) => {
      const lie = await falseList(from, to)
      const index = divergence(lie, truth) ?? Number.NaN
      expect(index).toBe(to - 1)
      expect(divergence(truth, lie)).toBe(index)
      expect(firstDivergence(truth, lie)).toBe(from)
      const lyingBytes = quarterOf(flipped(blob, from * quarterBytes), index)
      expect(await checkQuarter(engine, truth, index, quarterOf(blob, index))).toBe('fits')
      expect(await checkQuarter(engine, lie, index, quarterOf(blob, index))).toBe('wrong')
      expect(await checkQuarter(engine, lie, index, lyingBytes)).toBe('wrong')
      // Along his own list a liar's quarters fit up to there, which is why they are provisional.
      expect(await checkQuarter(engine, lie, from, quarterOf(flipped(blob, from * quarterBytes), from))).toBe('fits')
    })

    it('check a quarter that came in pieces', async () => {
      for (const index of indices) {
        const hasher = new QuarterHasher(engine, truth.stateAt(index))
        for await (const piece of piecesOf(quarterOf(blob, index), 100_003)) {
          expect(await checkQuarter(engine, truth, index, hasher)).toBe('wrong')
          await hasher.push(piece)
        }
        expect(await checkQuarter(engine, truth, index, hasher)).toBe('fits')
        expect(await checkQuarter(engine, truth, (index + 1) % 4, hasher)).toBe('unknown')
      }
    })

    it('that still grow know of a quarter what has arrived', async () => {
      const list = new GrowingCheckpoints(digest, blob.length)
      const check = () => Promise.all(indices.map((index) => checkQuarter(engine, list, index, quarterOf(blob, index))))
      expect(await check()).toEqual(['unknown', 'unknown', 'unknown', 'unknown'])
      expect(list.complete()).toBeUndefined()
      list.append(truth.stateAt(1))
      expect(await check()).toEqual(['fits', 'unknown', 'unknown', 'unknown'])
      expect(await checkQuarter(engine, list, 0, flipped(quarterOf(blob, 0), 5))).toBe('wrong')
      list.append(truth.encode().subarray(32))
      expect(await check()).toEqual(['fits', 'fits', 'fits', 'fits'])
      expect(list.complete()?.encode()).toEqual(truth.encode())
      expect(() => list.append(truth.stateAt(1))).toThrow(RangeError)
    })

    it('of one quarter are known from the beginning', async () => {
      const bytes = blob.subarray(0, 1000)
      const list = new GrowingCheckpoints(digestOf(bytes), bytes.length)
      expect(await checkQuarter(engine, list, 0, bytes)).toBe('fits')
      expect(list.complete()?.encode().length).toBe(0)
    })
  })
})

describe('lists', () => {
  const states = pseudoRandomBytes(96, 'states')
  const list = decodeCheckpoints(digest, blob.length, states)

  it('begin with the initial state, and end with the digest', () => {
    expect(list.quarters).toBe(4)
    expect(list.stateAt(0)).toBe(initialState)
    expect(`sha256:${Buffer.from(list.stateAt(4)).toString('hex')}`).toBe(digest)
    expect(states.subarray(32, 64).equals(list.stateAt(2))).toBe(true)
    for (const index of [-1, 5, 0.5, Number.NaN]) expect(() => list.stateAt(index)).toThrow(RangeError)
  })

  it('are what they were decoded from, whatever becomes of that memory', () => {
    const memory = Uint8Array.from(states)
    const decoded = decodeCheckpoints(digest, blob.length, memory)
    memory.fill(0)
    decoded.encode().fill(0)
    expect(states.equals(decoded.encode())).toBe(true)
    expect(states.equals(restoreCheckpoints(digest, blob.length, states).encode())).toBe(true)
  })

  it('have one length for a size', () => {
    for (const length of [0, 64, 95, 97, 128]) {
      expect(() => decodeCheckpoints(digest, blob.length, new Uint8Array(length))).toThrow(RangeError)
    }
    // No memory is taken for a size that somebody just says.
    expect(() => decodeCheckpoints(digest, 2 ** 53 - 1, states)).toThrow(RangeError)
    expect(new GrowingCheckpoints(digest, 2 ** 53 - 1).known).toBe(0)
  })

  it('are of sha256 digests only', async () => {
    const sha512 = digestOf(blob, 'sha512')
    expect(() => decodeCheckpoints(sha512, blob.length, states)).toThrow(TypeError)
    expect(() => new GrowingCheckpoints(sha512, blob.length)).toThrow(TypeError)
    const engine = await engineOf('portable')
    await expect(computeCheckpoints(engine, sha512, 0, piecesOf(blob, 10_000))).rejects.toThrow(TypeError)
  })

  it('of different blobs are not compared', () => {
    const other = decodeCheckpoints(digestOf(states), blob.length, states)
    const longer = decodeCheckpoints(digest, blob.length + 1, states)
    for (const b of [other, longer]) {
      expect(() => divergence(list, b)).toThrow(TypeError)
      expect(() => firstDivergence(list, b)).toThrow(TypeError)
    }
    expect(divergence(list, list)).toBeUndefined()
  })

  it('that grow are sent on in parts', () => {
    const [source, copy] = [new GrowingCheckpoints(digest, blob.length), new GrowingCheckpoints(digest, blob.length)]
    source.append(states.subarray(0, 32))
    copy.append(source.encode())
    source.append(states.subarray(32))
    expect(firstDivergence(source, copy)).toBeUndefined()
    copy.append(source.encode(copy.known))
    expect(copy.known).toBe(3)
    expect(states.equals(copy.encode())).toBe(true)
    expect(() => copy.append(new Uint8Array(31))).toThrow(RangeError)
    const other = new GrowingCheckpoints(digest, blob.length)
    other.append(flipped(states, 40).subarray(0, 64))
    expect(firstDivergence(other, copy)).toBe(1)
  })

  it('that grow keep each state where it was given out, and nothing of what they were given', () => {
    const list = new GrowingCheckpoints(digest, 100 * quarterBytes)
    const memory = new Uint8Array(32)
    const given = Array.from({ length: 99 }, (_, index) => {
      list.append(memory.fill(index))
      expect(list.stateAt(index + 2)).toEqual(index === 98 ? list.stateAt(100) : undefined)
      return list.stateAt(index + 1)
    })
    memory.fill(0xee)
    list.encode().fill(0xee)
    expect(given).toEqual(given.map((_, index) => new Uint8Array(32).fill(index)))
    expect(given).toEqual(given.map((_, index) => list.stateAt(index + 1)))
    expect(() => list.append(memory)).toThrow(RangeError)
  })
})

describe('a proof', () => {
  const bytes = pseudoRandomBytes(8 * quarterBytes - 1, 'proof')
  const size = bytes.length
  let list: ClaimedCheckpoints
  let links: Link[]
  beforeAll(async () => {
    const engine = await engineOf('portable')
    const truth = await computeCheckpoints(engine, digestOf(bytes), size, piecesOf(bytes, quarterBytes))
    list = decodeCheckpoints(truth.digest, size, truth.encode())
    links = await Promise.all(linksOf(list).map((index) => hashed(list.stateAt(index), index)))
  })

  async function hashed(before: Sha256State, index: number): Promise<Link> {
    const hasher = new QuarterHasher(await engineOf('portable'), before)
    await hasher.push(quarterOf(bytes, index))
    return linkOf(hasher, index, size)
  }

  it('grows backwards from the end, whatever the order of the quarters', () => {
    const order = fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7], { minLength: 0, maxLength: 8 })
    fc.assert(
      fc.property(order, (fitting) => {
        const proof = new Proof(list)
        const seen = new Set<number>()
        for (const index of fitting) {
          proof.fits(links[index] as Link)
          proof.fits(links[index] as Link)
          seen.add(index)
          const gaps = linksOf(list).filter((link) => !seen.has(link))
          expect(proof.provenFrom).toBe(Math.max(-1, ...gaps) + 1)
        }
        expect(proof.isComplete).toBe(seen.size === 8)
        expect(proof.proven()?.status).toBe(seen.size === 8 ? 'proven' : undefined)
      }),
    )
  })

  it('that is complete gives the list', () => {
    const proof = new Proof(list)
    for (const link of links) proof.fits(link)
    expect(proof.proven()?.encode()).toEqual(list.encode())
  })

  it('takes no quarter that was hashed between other states than those of its list', async () => {
    const other = decodeCheckpoints(list.digest, size, flipped(list.encode(), 3 * 32))
    const proof = new Proof(other)
    // State 4 is another one: neither the quarter before it nor the one after it fits, from whichever state it is hashed.
    for (const link of links) {
      if (link.quarter === 3 || link.quarter === 4) expect(() => proof.fits(link)).toThrow(RangeError)
      else proof.fits(link)
    }
    const made = await hashed(other.stateAt(4), 4)
    expect([verdictOf(list, made), verdictOf(other, made)]).toEqual(['unknown', 'wrong'])
    expect(() => proof.fits(made)).toThrow(RangeError)
    expect([proof.provenFrom, proof.proven()]).toEqual([5, undefined])
  })

  it('is made of whole quarters, along what is known of a list', async () => {
    const growing = new GrowingCheckpoints(list.digest, size)
    growing.append(list.encode().subarray(0, 2 * 32))
    expect(links.map((link) => verdictOf(growing, link))).toEqual(['fits', 'fits', 'open', ...Array(5).fill('unknown')])
    const hasher = new QuarterHasher(await engineOf('portable'), initialState)
    await hasher.push(quarterOf(bytes, 0).subarray(64))
    await expect(linkOf(hasher, 0, size)).rejects.toThrow(RangeError)
  })
})
