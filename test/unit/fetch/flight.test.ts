import { expect, it } from 'vitest'
import { Flight } from '../../../daemon/fetch/flight.ts'
import { StoreError } from '../../../daemon/store/errors.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { openStore } from '../../fixtures/downloads.ts'

const right = pseudoRandomBytes(4_000_000, 'flight')
const wrong = Buffer.from(right)
wrong.fill(0, 0, 9)
const digest = digestOf(right)
const signal = new AbortController().signal

/** A flight whose source gives these bytes, and whose disk is full after the first million of them. */
async function flightOf(bytes: Buffer): Promise<Flight> {
  const store = await openStore()
  return new Flight({
    digest,
    repository: 'docker.io/app',
    stage: async (size, onProgress) => {
      const staging = await store.stage(digest, size, onProgress)
      const { write } = staging.blob
      staging.blob.write = async (piece) => {
        if (staging.blob.readable >= 1_000_000) throw new StoreError('no-space', 'full')
        await write.call(staging.blob, piece)
      }
      return staging
    },
    sequence: (onFacts) => {
      onFacts({ size: bytes.length, mediaType: undefined, origin: 'upstream', public: true })
      return { read: (from: number) => piecesOf(bytes.subarray(from), 100_000) } as never
    },
    onVerified: () => {},
    onWrong: () => {},
    onUncached: () => {},
    onOrphaned: () => {},
    onLanded: () => {},
  })
}

it.each([
  ['right', right, true],
  ['wrong', wrong, false],
])(
  'a range of what the disk has no room for is completed only when the whole is proven: %s',
  async (_, bytes, isGiven) => {
    const flight = await flightOf(bytes)
    const content = await Promise.all([flight.open(signal), flight.run()]).then(([opened]) => opened)
    const got: Uint8Array[] = []
    const read = async () => {
      for await (const piece of content.read(0, 99, signal)) got.push(Uint8Array.from(piece))
    }
    if (isGiven) await read()
    else await expect(read()).rejects.toThrow('received bytes that have')
    const range = Buffer.concat(got)
    expect([range.length, range.equals(bytes.subarray(0, range.length))]).toEqual([isGiven ? 100 : 99, true])
    await content.close()
  },
)
