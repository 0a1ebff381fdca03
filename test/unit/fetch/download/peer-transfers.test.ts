import { expect, it } from 'vitest'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { piecesOf, pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, peerWith, upstreamWith } from '../../../fixtures/downloads.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(2 * chunkBytes, 'transfers')
const digest = digestOf(bytes)

it('a transfer whose body is not read, as its size is wrong, is ended at once', async () => {
  const reasons: unknown[] = []
  let opened = 0
  const give = (start: number, end: number, signal: AbortSignal) => {
    opened++
    signal.addEventListener('abort', () => reasons.push(String(signal.reason)))
    return piecesOf(bytes.subarray(start, end + 1), chunkBytes)
  }
  // It tells another size with the bytes than when it is watched.
  const peer = { ...peerWith(bytes, await checkpointsOf(bytes), { give }), size: 1 }
  const { download } = await fakeNode({ peers: { peer }, upstream: upstreamWith(bytes) })
  const running = download(digest)
  const done = running.run()
  await expect.poll(() => reasons.length).toBeGreaterThan(0)
  expect(opened).toBeGreaterThan(0)
  expect(reasons[0]).toContain('speaks of another blob')
  running.abort(new Error('over'))
  await done
})
