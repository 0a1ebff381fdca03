import { afterAll, beforeAll, expect, test } from 'vitest'
import { buildFamilies, type ImageFamily } from '../fixtures/images/images.ts'
import type { Client, ClientSession } from './clients/client.ts'
import { ctr } from './clients/containerd.ts'
import { podman } from './clients/containers.ts'
import { docker } from './clients/docker.ts'
import { waitFor } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import { Story } from './story.ts'

// Clients that have layers of an image already fetch the others only, and sometimes none. The node that they pull through holds the
// image whole all the same, and hands it on when its registry is gone.

const HELD_DEADLINE_MS = 120_000

const clients: readonly (readonly [name: string, client: Client])[] = [
  ['podman', podman],
  ['docker', docker('28', 'graph driver')],
  ['containerd', ctr('1.6')],
]
const here = jail()
let story: Story<ImageFamily[]> | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.beginWith(here, (folder, busybox) => {
    return buildFamilies(
      folder,
      busybox,
      clients.map(([name]) => name),
    )
  })
})

afterAll(() => story?.end())

test.each(clients)('an image is handed on of which %s had layers before', async (name, client) => {
  if (!here || !story) return
  const { images } = story
  const family = images[clients.findIndex(([one]) => one === name)] as ImageFamily
  // Of the first the client has all layers, of the second one.
  const others = [family.again, family.top]
  const args = await story.closedSwarm()
  // The client knows one address, at which there is a node with nothing in it after this one.
  const before = await story.node(`before-${name}`)
  const a = await story.at(before, async (environment) => {
    const session: ClientSession = await client.start(environment)
    try {
      await session.pull(family.base)
      await before.stop()
      const node = await story?.node(`a-${name}`, { args: [...args, '--listen', before.address] })
      if (node === undefined) throw new Error('no node')
      const held = async () => (await node.log()).split('an image is held whole').length - 1
      await session.pull(family.again)
      await waitFor('the image to be held whole', async () => (await held()) === 1, HELD_DEADLINE_MS)
      await session.pull(family.top)
      return node
    } finally {
      await session.stop()
    }
  })
  const b = await story.node(`b-${name}`, { seed: a, args: [...args, '--registry', 'docker.io=http://127.0.0.1:9'] })
  for (const image of others) {
    await story.at(b, async (environment) => {
      const session = await client.start(environment)
      try {
        expect(await session.pull(image)).toContain(image.digest)
        expect(await session.run(image)).toBe(image.marks)
      } finally {
        await session.stop()
      }
    })
  }
  expect((await b.fetched()).upstream).toBe(0)
})

test('it is said where this is left out', (context) => {
  if (!here) leaveOut(context)
})
