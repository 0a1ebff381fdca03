import { afterEach, expect, test } from 'vitest'
import { MAX_KEYS, MAX_PENDING } from '../../../../daemon/swarm/announce/constants.ts'
import { Link } from '../../../../daemon/swarm/announce/link.ts'
import type { Kind } from '../../../../daemon/swarm/announce/message.ts'
import { type Digest, digestFrom, digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

const [a, b, c] = ['a', 'b', 'c'].map((text) => digestOf(Buffer.from(text))) as [Digest, Digest, Digest]

const links: Link[] = []
afterEach(() => {
  for (const link of links.splice(0)) link.close()
})

interface Sent {
  readonly kind: Kind
  readonly digests: readonly Digest[]
}

/** A link that notes what it sends; `take` can be made slow or fail. */
function createLink(take: (sent: Sent) => Promise<void> = async () => {}) {
  const sent: Sent[] = []
  const link = new Link(async (kind, digests) => {
    sent.push({ kind, digests })
    await take({ kind, digests })
  })
  links.push(link)
  return { link, sent }
}

function many(count: number): Digest[] {
  return Array.from(
    { length: count },
    (_, index) => digestFrom('sha256', index.toString(16).padStart(64, '0')) as Digest,
  )
}

test('what comes together is sent together, each kind in its own message', async () => {
  const { link, sent } = createLink()
  link.push('place', a)
  link.push('withdraw', b)
  link.push('place', c)
  await until(() => link.pending === 0 && sent.length === 2)
  expect(sent).toEqual([
    { kind: 'place', digests: [a, c] },
    { kind: 'withdraw', digests: [b] },
  ])
})

test('only the last change of a blob is sent', async () => {
  const { link, sent } = createLink()
  link.push('place', a)
  link.push('withdraw', a)
  await until(() => sent.length === 1)
  expect(sent).toEqual([{ kind: 'withdraw', digests: [a] }])
})

test('no message has more keys than are allowed, and none is lost', async () => {
  const { link, sent } = createLink()
  const digests = many(2 * MAX_KEYS + 1)
  for (const digest of digests) link.push('place', digest)
  await until(() => sent.length === 3)
  expect(sent.map((message) => message.digests.length)).toEqual([MAX_KEYS, MAX_KEYS, 1])
  expect(sent.flatMap((message) => message.digests)).toEqual(digests)
})

test('what the peer did not take is sent again after a pause, in which it is not bothered', async () => {
  let failures = 1
  const { link, sent } = createLink(async () => {
    if (failures-- > 0) throw new Error('no')
  })
  link.push('place', a)
  await until(() => sent.length === 1 && link.pauseMs > 0)
  expect(link.pending).toBe(1)
  expect(link.pauseMs).toBeGreaterThan(100)
  link.push('place', b)
  await until(() => sent.length === 2 && link.pending === 0)
  expect([...(sent[1]?.digests ?? [])].sort()).toEqual([a, b].sort())
  expect(link.pauseMs).toBe(0)
})

test('a blob that is taken back while its announcement fails is not announced again', async () => {
  const first = Promise.withResolvers<void>()
  const { link, sent } = createLink(({ kind }) => (kind === 'place' ? first.promise : Promise.resolve()))
  link.push('place', a)
  await until(() => sent.length === 1)
  expect(link.pending).toBe(1)
  link.push('withdraw', a)
  expect(link.pending).toBe(0)
  first.reject(new Error('no'))
  await until(() => sent.length === 2 && link.pending === 0)
  expect(sent[1]).toEqual({ kind: 'withdraw', digests: [a] })
})

test('too many changes become a round over everything', () => {
  const { link } = createLink(() => new Promise(() => {}))
  link.beginAll()
  for (const digest of many(MAX_PENDING)) link.push('place', digest)
  expect([link.pending, link.wantsAll]).toEqual([MAX_PENDING, false])
  link.push('withdraw', a)
  expect([link.pending, link.wantsAll]).toEqual([MAX_PENDING, false])
  link.push('place', b)
  expect([link.pending, link.wantsAll]).toEqual([MAX_PENDING, true])
})

test('a closed link sends nothing more', async () => {
  const { link, sent } = createLink()
  link.push('place', a)
  link.close()
  link.push('place', b)
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect([sent.length, link.pending]).toEqual([0, 0])
})
