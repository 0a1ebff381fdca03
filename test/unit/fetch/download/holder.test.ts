import { expect, it } from 'vitest'
import { MAX_PEERS } from '../../../../daemon/fetch/download/constants.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { type FakePeer, fakeNode, peerWith } from '../../../fixtures/downloads.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

it('watches who has the claim, though it watches as many peers as it may: nobody else has a list to follow', async () => {
  const bytes = pseudoRandomBytes(4 * chunkBytes + 7, 'holder')
  const digest = digestOf(bytes)
  const states = await checkpointsOf(bytes)
  const peers: Record<string, FakePeer> = {}
  for (let peer = 0; peer < MAX_PEERS; peer++) peers[peer] = peerWith(bytes, states, { held: [], known: 0 })
  peers.holder = peerWith(bytes, states)
  const { store, download } = await fakeNode({
    peers,
    claim: { holder: 'holder' },
    upstream: async () => {
      throw new Error('a peer has it')
    },
  })
  await download(digest).run()
  expect(store.has(digest)).toBe(true)
})
