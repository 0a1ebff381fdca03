import { randomBytes } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { describe, expect, test, vi } from 'vitest'
import { MAX_ORIGINS, NEW_ORIGINS } from '../../../../daemon/swarm/routing/constants.ts'
import type { SignedAsk } from '../../../../daemon/swarm/routing/message.ts'
import { isSigned, Numbers, Signer } from '../../../../daemon/swarm/routing/signature.ts'
import { signingKey } from '../../../../daemon/swarm/signing.ts'

const [key, otherKey] = [await generateKeyPair('Ed25519'), await generateKeyPair('Ed25519')]
const [self, other] = [key, otherKey].map((one) => peerIdFromPrivateKey(one).toString()) as [string, string]
const signer = new Signer(self, signingKey(key))

const tell = () => signer.sign({ kind: 'tell', to: 1, peer: other, payload: Buffer.from('x') })
const announce = (action: 'place' | 'withdraw') =>
  signer.sign({ kind: 'announce', to: 1, action, keys: randomBytes(64) })

describe('a signature', () => {
  test('holds for what was said, whichever way it goes', () => {
    for (const ask of [tell(), announce('place'), announce('withdraw')]) {
      expect(isSigned(ask)).toBe(true)
      expect(isSigned({ ...ask, to: 2 })).toBe(true)
    }
  })

  test.each<[string, (ask: SignedAsk) => SignedAsk]>([
    ['another origin', (ask) => ({ ...ask, origin: other })],
    ['another number', (ask) => ({ ...ask, number: ask.number + 1 })],
    ['another receiver', (ask) => (ask.kind === 'tell' ? { ...ask, peer: self } : { ...ask, action: 'withdraw' })],
    [
      'other content',
      (ask) => (ask.kind === 'tell' ? { ...ask, payload: Buffer.from('y') } : { ...ask, keys: randomBytes(64) }),
    ],
    ['another signature', (ask) => ({ ...ask, signature: randomBytes(64) })],
    ['an origin that is no PeerId', (ask) => ({ ...ask, origin: 'nobody' })],
  ])('does not hold for %s', (_, change) => {
    expect([change(tell()), change(announce('place'))].map(isSigned)).toEqual([false, false])
  })
})

describe('numbers', () => {
  test('go up, also where the clock goes back', () => {
    vi.useFakeTimers({ now: 5_000 })
    const first = tell().number
    vi.setSystemTime(1_000)
    expect(tell().number).toBeGreaterThan(first)
    signer.goBeyond(first + 1_000)
    expect(tell().number).toBe(first + 1_001)
    vi.useRealTimers()
  })

  test('let nothing be told twice, nor what is older', () => {
    const numbers = new Numbers()
    const [older, newer] = [tell(), tell()]
    expect(numbers.take(newer, self)).toBeUndefined()
    expect([numbers.take(newer, self), numbers.take(older, self)]).toEqual([newer.number, newer.number])
    expect(numbers.take({ ...older, origin: other }, self)).toBeUndefined()
  })

  test('let announcements come in any order, but none undo a later one', () => {
    const numbers = new Numbers()
    const [first, second, gone, back] = [announce('place'), announce('place'), announce('withdraw'), announce('place')]
    expect([second, first, gone].map((ask) => numbers.take(ask, self))).toEqual([undefined, undefined, undefined])
    expect(numbers.take(first, self)).toBe(gone.number)
    expect(numbers.take(back, self)).toBeUndefined()
    expect(numbers.take(gone, self)).toBe(back.number)
  })

  test('of origins not heard of for long are forgotten', () => {
    const numbers = new Numbers()
    const said = tell()
    numbers.take(said, self)
    for (let index = 0; index < MAX_ORIGINS; index++) numbers.take({ ...said, origin: `peer ${index}` }, self)
    expect(numbers.take(said, self)).toBeUndefined()
  })

  test('are not forgotten for origins that another peer brings', () => {
    const numbers = new Numbers()
    const said = tell()
    numbers.take(said, other)
    for (let index = 0; index < 2 * MAX_ORIGINS; index++) numbers.take({ ...said, origin: `peer ${index}` }, 'relay')
    expect(numbers.take(said, 'relay')).toBe(said.number)
  })

  test('are heard of some new origins from each peer at a time', () => {
    const numbers = new Numbers()
    const said = tell()
    const bring = (origin: string, from: string) => {
      if (!numbers.isRoomFor(origin, from)) return false
      numbers.take({ ...said, origin }, from)
      return true
    }
    for (let index = 0; index < NEW_ORIGINS; index++) expect(bring(`peer ${index}`, 'relay')).toBe(true)
    expect(bring('one more', 'relay')).toBe(false)
    // Those that are known, the peer itself, and what others bring.
    expect([bring('peer 0', 'relay'), bring('relay', 'relay'), bring('one more', other)]).toEqual([true, true, true])
  })
})
