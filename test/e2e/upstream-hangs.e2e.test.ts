import { afterAll, beforeAll, expect, type TestContext, test } from 'vitest'
import type { FixtureImage } from '../fixtures/images/images.ts'
import type { Client } from './clients/client.ts'
import { ctr } from './clients/containerd.ts'
import { podman } from './clients/containers.ts'
import { docker } from './clients/docker.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// Worse than an upstream that is off is one that takes connections and then says nothing.

/** Less than the 30 s after which containerd gives up on the first headers, for a whole pull; two waits for upstream take 10 s of it. */
const PATIENCE_MS = 25_000
const here = jail()
let story: Story | undefined
let b: LayerdNode | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.begin(here)
  const args = await story.closedSwarm()
  const a = await story.node('a', { args })
  b = await story.node('b', { seed: a, args })
  // podman pulls the platform of this machine, containerd all of them.
  await pull(podman, story, a, story.images.schema2)
  await pull(ctr('2'), story, a, story.images.gzip)
  await story.upstream.freeze()
})

afterAll(() => story?.end())

function pull(client: Client, story: Story, node: LayerdNode, image: FixtureImage): Promise<void> {
  return story.at(node, async (environment) => {
    const session = await client.start(environment)
    try {
      expect(await session.pull(image)).toContain(image.digest)
      expect(await session.run(image)).toBe(image.marks)
    } finally {
      await session.stop()
    }
  })
}

/** Runs while upstream hangs, on the node that has pulled nothing. */
async function inTime(context: TestContext, work: (story: Story, node: LayerdNode) => Promise<void>): Promise<void> {
  if (!here) leaveOut(context)
  if (!story || !b) throw new Error('the registry or a node did not start')
  context.onTestFailed(() => story?.showLogs())
  const started = performance.now()
  await work(story, b)
  expect(performance.now() - started).toBeLessThan(PATIENCE_MS)
  expect((await b.fetched()).upstream).toBe(0)
}

test('while upstream hangs, a platform that nobody has pulled is refused soon', (context) =>
  inTime(context, async (story, node) => {
    await expect(pull(ctr('2'), story, node, story.images.schema2)).rejects.toThrow('503 Service Unavailable')
  }))

for (const client of [ctr('2'), podman, docker('28', 'graph driver')]) {
  test(`while upstream hangs, ${client.name} pulls from a peer`, (context) =>
    inTime(context, (story, node) =>
      pull(client, story, node, client.whole ? story.images.gzip : story.images.schema2),
    ))
}
