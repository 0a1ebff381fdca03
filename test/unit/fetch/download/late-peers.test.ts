import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ANSWER_MS, PROVIDER_ANSWER_MS } from '../../../../daemon/fetch/download/constants.ts'
import type { ClaimAnswer } from '../../../../daemon/swarm/claim/book.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../../../proxy/upstream/types.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { type FakePeer, fakeNode, peerWith, requestOf } from '../../../fixtures/downloads.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(2 * chunkBytes + 7, 'late')
const digest = digestOf(bytes)
const peer = peerWith(bytes, await checkpointsOf(bytes))

/** A node whose upstream says at once that it does not have the blob, or can't be reached. */
async function nodeWith(tell: FakePeer['tell'], code: UpstreamErrorCode, claim: Partial<ClaimAnswer> = {}) {
  return await fakeNode({
    peers: { late: { ...peer, tell } },
    claim: { role: 'holder', ...claim },
    upstream: async () => {
      throw new UpstreamError(code, 'it does not have it')
    },
  })
}

it.each(['not-found', 'unreachable'] as const)(
  'waits for a peer that announced the blob where upstream is %s',
  async (code) => {
    const tell = (listener: Parameters<FakePeer['tell']>[0]) =>
      void setTimeout(() => peer.tell(listener), 3 * ANSWER_MS)
    const { store, download } = await nodeWith(tell, code)
    await download(digest).run()
    expect(store.has(digest)).toBe(true)
  },
)

it('waits for the end of the lookup where upstream does not have the blob', async () => {
  const { store, tools, download } = await nodeWith((listener) => peer.tell(listener), 'not-found')
  tools.swarm.providers = async function* () {
    await delay(10 * tools.lookupTimeout)
    yield 'late'
  }
  await download(digest).run()
  expect(store.has(digest)).toBe(true)
})

/** How long a fetch takes of what nobody gives, in ms. */
async function failure({ download }: Awaited<ReturnType<typeof nodeWith>>): Promise<number> {
  const since = performance.now()
  const fetching = download(digest)
  void fetching.run()
  await expect(fetching.open(requestOf(digest))).rejects.toThrow('it does not have it')
  return performance.now() - since
}

it('does not wait for ever, though each lookup finds another peer that says nothing', async () => {
  const node = await nodeWith(() => {}, 'not-found')
  let lookups = 0
  node.tools.swarm.providers = async function* () {
    yield `silent ${++lookups}`
  }
  expect(await failure(node)).toBeLessThan(PROVIDER_ANSWER_MS + 1_000)
}, 10_000)

it('does not wait for those who only want it, too', async () => {
  const node = await nodeWith(() => {}, 'not-found', { members: ['late', 'other'] })
  node.tools.swarm.providers = async function* () {}
  expect(await failure(node)).toBeLessThan(4 * ANSWER_MS)
})

it.each(['unauthorized', 'denied', 'refused'] as const)(
  'tells at once who is %s, for there may be credentials to try',
  async (code) => {
    expect(await failure(await nodeWith(() => {}, code))).toBeLessThan(4 * ANSWER_MS)
  },
)
