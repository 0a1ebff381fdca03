import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { SwarmDatastore } from '../../../daemon/swarm/datastore.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

it('what is known of peers outlives the removal of its folder under the running node', async () => {
  const folder = join(await tempDir(), 'data', 'dht')
  // The name is all that it looks at.
  const key = { toString: () => '/peers/a' } as never
  const datastore = new SwarmDatastore(folder)
  await datastore.open()
  await datastore.put(key, Uint8Array.of(1, 2))
  await rm(join(folder, '..'), { recursive: true })
  await datastore.close()
  const again = new SwarmDatastore(folder)
  await again.open()
  onTestFinished(() => again.close())
  expect([...(await again.get(key))]).toEqual([1, 2])
})
