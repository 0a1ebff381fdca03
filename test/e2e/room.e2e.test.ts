import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { crane } from './clients/registry-tools.ts'
import { run, waitFor } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import { Story } from './story.ts'

// A room without internet: nodes that were told nothing of each other hand images on.

const MEET_DEADLINE_MS = 90_000
const here = jail()
let story: Story | undefined

beforeAll(async () => {
  if (!here) return
  // The jail has loopback only. It stands for the room's network.
  const ip = (...words: string[]) => run(join(here.tools.bookworm, 'bin/busybox'), ['ip', ...words])
  await ip('addr', 'add', '10.77.0.1/24', 'dev', 'lo')
  story = await Story.begin(here)
})

afterAll(() => story?.end())

test('two nodes find each other by multicast DNS, and an image goes from one to the other', async (context) => {
  if (!here) leaveOut(context)
  if (!story) throw new Error('the registry did not start')
  context.onTestFailed(() => story?.showLogs())
  const { schema2 } = story.images
  const settings = { LAYERD_TAGS_TRUST_PEERS: 'offline' }
  const a = await story.node('laptop-a', { mdns: true, settings })
  const pull = async (node: typeof a) => {
    await story?.at(node, async (environment) => {
      const session = await crane.start(environment)
      expect(await session.pull(schema2)).toContain(schema2.digest)
      await session.stop()
    })
  }
  await pull(a)
  await story.upstream.off()
  const b = await story.node('laptop-b', { mdns: true, settings })
  await waitFor('both to meet', async () => (await b.peers()) > 0, MEET_DEADLINE_MS)
  await pull(b)
  expect(await b.fetched()).toMatchObject({ upstream: 0 })
})
