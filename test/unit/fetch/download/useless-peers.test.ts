import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { PeerError } from '../../../../daemon/swarm/ports.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { type FakePeer, fakeNode, peerWith, upstreamWith } from '../../../fixtures/downloads.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(4 * chunkBytes + 7, 'useless')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)

/** How long a blob takes of which one peer says that it has it, in ms. */
async function fetchBeside(give: FakePeer['give'], role: 'holder' | 'none'): Promise<number> {
  const { store, download } = await fakeNode({
    peers: { useless: peerWith(bytes, states, { give }) },
    claim: role === 'holder' ? { role } : { role, holder: 'useless', members: ['useless'] },
    upstream: upstreamWith(bytes),
  })
  const since = performance.now()
  await download(digest).run()
  expect(store.has(digest)).toBe(true)
  return performance.now() - since
}

const busy = (): never => {
  throw new PeerError('busy', 'useless', 'it has no upload free')
}

async function* trickle(start: number, _end: number, signal: AbortSignal): AsyncGenerator<Uint8Array, void> {
  for (;;) {
    yield bytes.subarray(start, start + 1)
    await delay(1000, undefined, { signal })
  }
}

// Not concurrent: the fixtures clean up when the test that is current has finished, which would be any of them.
describe('a peer that says it has all and gives nothing', () => {
  it('as it is always busy, costs the holder of the claim a few seconds', { timeout: 30_000 }, async () => {
    expect(await fetchBeside(busy, 'holder')).toBeLessThan(6_000)
  })

  it('as it is always busy, does not keep others from upstream', { timeout: 30_000 }, async () => {
    expect(await fetchBeside(busy, 'none')).toBeLessThan(14_000)
  })

  it('but a byte now and then, does not keep others from upstream', { timeout: 30_000 }, async () => {
    expect(await fetchBeside(trickle, 'none')).toBeLessThan(14_000)
  })
})
