import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { asTheyArrive } from '../../../../daemon/swarm/router/arrivals.ts'
import { hashOf, multihashOf } from '../../../../daemon/swarm/router/cid.ts'
import { ABSENT_MS, FAILED_MS, MAX_REMEMBERED } from '../../../../daemon/swarm/router/constants.ts'
import { Reputation } from '../../../../daemon/swarm/router/reputation.ts'
import { digestOf, hexOf } from '../../../../proxy/oci/digest.ts'

describe('the DHT key', () => {
  test('of a sha256 digest is the digest', () => {
    const digest = digestOf(Buffer.from('x'))
    expect(Buffer.from(hashOf(digest)).toString('hex')).toBe(hexOf(digest))
  })

  test('of a sha512 digest is a SHA-256 too, since kad-dht takes nothing else', () => {
    const digest = digestOf(Buffer.from('x'), 'sha512')
    expect(hashOf(digest)).toHaveLength(32)
    expect(multihashOf(hashOf(digest))[0]).toBe(0x12)
  })
})

describe('arrivals', () => {
  async function collect<T>(iterable: AsyncIterable<T>): Promise<T[]> {
    const found: T[] = []
    for await (const item of iterable) found.push(item)
    return found
  }

  test('come in order of arrival, without those that fail', async () => {
    const promises = [delay(20, 'late'), Promise.reject(new Error('no')), delay(1, 'early')]
    expect(await collect(asTheyArrive(promises, 5000, new AbortController().signal))).toEqual(['early', 'late'])
    expect(await collect(asTheyArrive([], 5000, new AbortController().signal))).toEqual([])
  })

  test('end after the time and with the signal, with what came until then', async () => {
    const never = new Promise<string>(() => {})
    expect(await collect(asTheyArrive([never, Promise.resolve('x')], 20, new AbortController().signal))).toEqual(['x'])
    expect(await collect(asTheyArrive([never, Promise.resolve('x')], 5000, AbortSignal.timeout(20)))).toEqual(['x'])
  })
})

describe('reputation', () => {
  beforeEach(() => vi.useFakeTimers())
  afterEach(() => vi.useRealTimers())
  const digest = digestOf(Buffer.from('x'))

  test('forgets after its time, or when the peer is back', () => {
    const reputation = new Reputation()
    reputation.absent('a', digest)
    reputation.failed('a')
    reputation.failed('b')
    reputation.forgive('b')
    expect([reputation.isAbsent('a', digest), reputation.isAbsent('b', digest)]).toEqual([true, false])
    expect([reputation.hasFailed('a'), reputation.hasFailed('b')]).toEqual([true, false])
    vi.advanceTimersByTime(FAILED_MS + 1)
    expect([reputation.hasFailed('a'), reputation.isAbsent('a', digest)]).toEqual([false, true])
    vi.advanceTimersByTime(ABSENT_MS)
    expect(reputation.isAbsent('a', digest)).toBe(false)
  })

  test('is bounded', () => {
    const reputation = new Reputation()
    for (let i = 0; i <= MAX_REMEMBERED; i++) reputation.failed(`peer ${i}`)
    expect([reputation.hasFailed('peer 0'), reputation.hasFailed('peer 1')]).toEqual([false, true])
  })
})
