import { expect, it } from 'vitest'
import type { FetchedBlob } from '../../../daemon/share/local-blob.ts'
import { unknownBlob } from '../../../daemon/share/stored.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { fakeNode, upstreamWith } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'
import { until } from '../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(9 * quarterBytes, 'resumed')
const digest = digestOf(bytes)

it('what is held of a chunk is not read again, whether its size was known before or is known now', async () => {
  const { sharing } = await fakeNode({ swarm: new MemorySwarm(), upstream: upstreamWith(bytes) })
  const reads: number[] = []
  const nothing = () => {}
  const fetched: FetchedBlob = {
    ...unknownBlob,
    introduced: nothing,
    listed: nothing,
    told: nothing,
    parted: nothing,
    headed: nothing,
    take: async () => 'there',
    verifiable: async () => true,
    read: (quarter) => void reads.push(quarter),
    unread: nothing,
  }
  const fetching = sharing.fetch(digest, fetched)
  fetching.sized(bytes.length, [0, 1, 2, 6])
  await until(() => reads.length > 0)
  expect(reads).toEqual([3])
  fetching.lost([0, 1, 6])
  await until(() => reads.length > 1)
  expect(reads).toEqual([3, 2])
  fetching.end(false)
})
