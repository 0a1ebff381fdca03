import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, peerWith, upstreamWith } from '../../../fixtures/downloads.ts'
import type { Script } from '../../../fixtures/scripted-peer.ts'
import { checkpointsOf, until } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(9 * quarterBytes + 7, 'useless')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)

/** Fetches a blob of which one peer says that it has it. */
async function fetchBeside(script: Partial<Script>, role: 'head' | 'none'): Promise<void> {
  const { store, download, fetched, scripted } = await fakeNode({
    peers: { useless: peerWith(bytes, states, script) },
    claim: role === 'head' ? { role } : { role, head: 'useless', members: ['useless'] },
    upstream: async (request) => {
      // The peer has said that it has all before upstream brings anything.
      await until(() => (scripted.get('useless')?.of('ask').length ?? 0) > 0)
      return await upstreamWith(bytes)(request)
    },
  })
  await download(digest).run()
  expect([store.has(digest), fetched.upstream]).toEqual([true, bytes.length])
}

async function* trickle(start: number, _end: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  yield bytes.subarray(start, start + 1)
  await delay(60_000, undefined, { signal })
}

it('a peer that says it has all and gives nothing keeps nobody from upstream for good', async () => {
  await Promise.all([
    // Who does not answer is not believed after a second.
    fetchBeside({ answer: 'nothing' }, 'head'),
    // Who is always busy may be so in earnest.
    fetchBeside({ answer: 'busy' }, 'head'),
    fetchBeside({ answer: 'busy' }, 'none'),
    fetchBeside({ answer: 'none' }, 'none'),
    // It begins each chunk, and never ends it.
    fetchBeside({ give: trickle }, 'none'),
  ])
})
