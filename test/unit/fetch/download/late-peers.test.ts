import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
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
  void fetching.run()
  const content = await fetching.open(requestOf(digest))
  const reading = content.read(0, undefined, new AbortController().signal)
  await expect(collect(reading)).rejects.toThrow('it does not have it')
  expect([store.has(digest), swarm.ends]).toEqual([false, []])
  await content.close()
})

/** Fetches what nobody gives. */
async function failure({ download }: Awaited<ReturnType<typeof nodeWith>>): Promise<void> {
  const fetching = download(digest)
  void fetching.run()
  await expect(fetching.open(requestOf(digest))).rejects.toThrow('it does not have it')
}

it('does not wait for ever, though each lookup finds another peer that says nothing', async () => {
  const node = await nodeWith(mute, 'not-found')
  let lookups = 0
  node.tools.swarm.providers = async function* () {
    yield `silent ${++lookups}`
  }
  await failure(node)
})

it.each(['unauthorized', 'denied', 'refused'] as const)(
  'tells at once who is %s, for there may be credentials to try, where nobody has announced the blob',
  async (code) => {
    const node = await nodeWith(mute, code)
    node.swarm.recorded = () => []
    const { promise, resolve } = Promise.withResolvers<void>()
    node.tools.swarm.providers = async function* () {
      await promise
      yield* []
    }
    // The lookup ends only after that.
    await failure(node)
    resolve()
  },
)
