import { expect, it } from 'vitest'
import { KeptCheckpoints } from '../../daemon/kept-checkpoints.ts'
import type { BlobStore } from '../../daemon/store/blob-store.ts'
import { quarterBytes, quartersPerChunk } from '../../daemon/verify/quarter.ts'
import { stateBytes } from '../../daemon/verify/state.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { setUpStore } from '../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { checkpointsOf } from '../fixtures/swarm.ts'

it.each([
  { quarters: 9, kept: 'those of chunks', of: (states: Uint8Array) => statesOfChunks(states) },
  // Of a blob of one chunk it kept none.
  { quarters: 3, kept: 'an empty list', of: () => new Uint8Array(0) },
  { quarters: 9, kept: 'more than there are', of: (states: Uint8Array) => Buffer.concat([states, states]) },
])('are computed anew where an earlier version has kept $kept', async ({ quarters, of }) => {
  const { store, engine } = await setUpStore()
  const bytes = pseudoRandomBytes((quarters - 1) * quarterBytes + 5, 'kept')
  const states = await checkpointsOf(bytes)
  const digest = await putBlob(store, bytes)
  await store.putCheckpoints(digest, of(states))
  const kept = new KeptCheckpoints(store, engine)
  expect(await kept.of(digest)).toEqual(states)
  expect(Uint8Array.from((await store.checkpoints(digest)) ?? [])).toEqual(states)
})

it('are not computed where they were kept', async () => {
  const { store, engine } = await setUpStore()
  const bytes = pseudoRandomBytes(2 * quarterBytes + 5, 'kept')
  const digest = await putBlob(store, bytes)
  // Nothing that was computed would be these.
  const states = new Uint8Array(2 * stateBytes).fill(7)
  await store.putCheckpoints(digest, states)
  expect(Uint8Array.from((await new KeptCheckpoints(store, engine).of(digest)) ?? [])).toEqual(states)
})

it('of a blob of one quarter are none', async () => {
  const { store, engine } = await setUpStore()
  const digest = await putBlob(store, pseudoRandomBytes(quarterBytes, 'small'))
  expect(await new KeptCheckpoints(store, engine).of(digest)).toEqual(new Uint8Array(0))
})

async function putBlob(store: BlobStore, bytes: Uint8Array) {
  const digest = digestOf(bytes)
  const staging = await store.stage(digest, bytes.length, () => {})
  await staging.blob.write(bytes)
  await staging.blob.finish()
  await staging.commit({ mediaType: undefined, public: true, repository: 'docker.io/library/a' })
  await staging.blob.close()
  return digest
}

/** The states at the borders of chunks. */
function statesOfChunks(states: Uint8Array): Uint8Array {
  const count = Math.floor(states.length / stateBytes / quartersPerChunk)
  const at = (index: number) => (quartersPerChunk * (index + 1) - 1) * stateBytes
  return Buffer.concat(Array.from({ length: count }, (_, index) => states.subarray(at(index), at(index) + stateBytes)))
}
