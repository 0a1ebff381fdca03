import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { LOOKUP_LIMIT_MS } from '../../../../daemon/fetch/download/constants.ts'
import type { Turn } from '../../../../daemon/share/plan/messages.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../../../proxy/upstream/types.ts'
import { collect, pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, peerWith, requestOf } from '../../../fixtures/downloads.ts'
import type { Script } from '../../../fixtures/scripted-peer.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(6 * quarterBytes + 7, 'late')
const digest = digestOf(bytes)
const peer = peerWith(bytes, await checkpointsOf(bytes))
/** It says nothing of any blob. */
const mute = { ...peer, ready: new Promise<void>(() => {}) }

/** A node whose upstream says at once that it does not have the blob, or can't be reached. */
async function nodeWith(script: Script, code: UpstreamErrorCode, claim: Partial<Turn> = {}) {
  return await fakeNode({
    peers: { late: script },
    claim: { role: 'head', ...claim },
    upstream: async () => {
      throw new UpstreamError(code, 'it does not have it')
    },
  })
}

it.each(['not-found', 'unreachable', 'unauthorized', 'denied'] as const)(
  'waits for a peer that announced the blob where upstream says: %s',
  async (code) => {
    const { store, download } = await nodeWith({ ...peer, ready: delay(1_000) }, code)
    await download(digest).run()
    expect(store.has(digest)).toBe(true)
  },
)

it('waits for the end of the lookup where upstream does not have the blob', async () => {
  const { store, tools, download, swarm } = await nodeWith(peer, 'not-found')
  swarm.recorded = () => []
  tools.swarm.providers = async function* () {
    await delay(500)
    yield 'late'
  }
  await download(digest).run()
  expect(store.has(digest)).toBe(true)
})

it('believes a peer that the chunks which it has are those that are missing, and waits for no other', async () => {
  const { store, download, swarm } = await nodeWith({ ...peer, held: [0] }, 'not-found')
  const fetching = download(digest)
  const since = performance.now()
  void fetching.run()
  const content = await fetching.open(requestOf(digest))
  const reading = content.read(0, undefined, new AbortController().signal)
  await expect(collect(reading)).rejects.toThrow('it does not have it')
  expect([store.has(digest), swarm.ends]).toEqual([false, []])
  expect(performance.now() - since).toBeLessThan(LOOKUP_LIMIT_MS)
  await content.close()
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
  const node = await nodeWith(mute, 'not-found')
  let lookups = 0
  node.tools.swarm.providers = async function* () {
    yield `silent ${++lookups}`
  }
  expect(await failure(node)).toBeLessThan(9_000)
}, 20_000)

it.each(['unauthorized', 'denied', 'refused'] as const)(
  'tells at once who is %s, for there may be credentials to try, where nobody has announced the blob',
  async (code) => {
    const node = await nodeWith(mute, code)
    node.swarm.recorded = () => []
    node.tools.swarm.providers = async function* () {
      await delay(2_000)
      yield* []
    }
    expect(await failure(node)).toBeLessThan(500)
  },
)
