import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest'
import type { Client } from './clients/client.ts'
import { ctr } from './clients/containerd.ts'
import { podman } from './clients/containers.ts'
import { docker } from './clients/docker.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// Worse than an upstream that is off is one that takes connections and then says nothing.

/**
 * One wait for upstream's headers (`upstream.responseTimeout`, 60 s) and a little: containerd asks for the manifest of a platform that nobody
 * has pulled, and only upstream could say more of it.
 */
const PATIENCE_MS = 80_000
const here = jail()
let story: Story | undefined
let b: LayerdNode | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.begin(here)
  const args = await story.closedSwarm()
  const a = await story.node('a', { args })
  b = await story.node('b', { seed: a, args })
  await pull(podman, story, a)
  await story.upstream.freeze()
})

afterAll(() => story?.end())

function pull(client: Client, story: Story, node: LayerdNode): Promise<void> {
  return story.at(node, async (environment) => {
    const session = await client.start(environment)
    try {
      const { schema2 } = story.images
      expect(await session.pull(schema2)).toContain(schema2.digest)
      expect(await session.run(schema2)).toBe(schema2.marks)
    } finally {
      await session.stop()
    }
  })
}

async function pullsInTime(client: Client, context: TestContext): Promise<void> {
  if (!here) leaveOut(context)
  if (!story || !b) throw new Error('the registry or a node did not start')
  context.onTestFailed(() => story?.showLogs())
  const started = performance.now()
  await pull(client, story, b)
  expect(performance.now() - started).toBeLessThan(PATIENCE_MS)
  expect((await b.fetched()).upstream).toBe(0)
}

for (const client of [ctr('2'), podman, docker('28', 'graph driver')]) {
  test(`while upstream hangs, ${client.name} pulls from a peer`, (context) => pullsInTime(client, context))
}
