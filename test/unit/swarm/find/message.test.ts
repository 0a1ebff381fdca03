import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { KEY_BYTES, MAX_PROVIDERS } from '../../../../daemon/swarm/find/constants.ts'
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  Messages,
} from '../../../../daemon/swarm/find/message.ts'

const peers = await Promise.all(
  Array.from({ length: 3 }, async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()),
)

const id = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const request = fc.record({ id, key: fc.uint8Array({ minLength: KEY_BYTES, maxLength: KEY_BYTES }) })
const answer = fc.record({ id, providers: fc.array(fc.constantFrom(...peers), { maxLength: MAX_PROVIDERS }) })

/** Cuts bytes at arbitrary places. */
function cut(bytes: Uint8Array, sizes: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  let at = 0
  for (const size of sizes) {
    parts.push(bytes.subarray(at, at + size))
    at += size
  }
  return [...parts, bytes.subarray(at)]
}

const sizes = fc.array(fc.nat(50), { maxLength: 40 })

describe('messages', () => {
  test('are the same after any cut of the stream: requests', () => {
    fc.assert(
      fc.property(fc.array(request, { maxLength: 10 }), sizes, (sent, cuts) => {
        const messages = new Messages(decodeRequest)
        const received = cut(Buffer.concat(sent.map(encodeRequest)), cuts).flatMap((part) => [...messages.push(part)])
        expect(received.map(({ id, key }) => ({ id, key: Uint8Array.from(key) }))).toEqual(sent)
      }),
    )
  })

  test('are the same after any cut of the stream: answers', () => {
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 5 }), sizes, (sent, cuts) => {
        const messages = new Messages(decodeAnswer)
        const received = cut(Buffer.concat(sent.map(encodeAnswer)), cuts).flatMap((part) => [...messages.push(part)])
        expect(received).toEqual(sent)
      }),
    )
  })

  test('never make the decoder wait for more than an answer can have, or return what is none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4000 }), (bytes) => {
        try {
          const decoded = decodeAnswer(Buffer.from(bytes))
          expect(decoded !== undefined || bytes.length < 5 + MAX_PROVIDERS * 65).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(Error)
        }
      }),
    )
  })

  test('with too many providers or too long a PeerId are refused', () => {
    expect(() => decodeAnswer(Buffer.from([0, 0, 0, 1, MAX_PROVIDERS + 1]))).toThrow(/names 21 providers/)
    expect(() => decodeAnswer(Buffer.from([0, 0, 0, 1, 1, 65]))).toThrow(/a PeerId has 65 bytes/)
  })
})
