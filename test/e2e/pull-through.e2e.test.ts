import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { CLIENTS } from './clients/all.ts'
import { artifactDigest, artifactFile, referrersOf } from './clients/artifacts.ts'
import type { Client } from './clients/client.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// Clients pull through node A while upstream is on; then upstream is switched off, and they pull through node B,
// which has only A to get anything from. Each client is a new one each time. The tests build on each other.

const here = jail()
let story: Story | undefined
let a: LayerdNode | undefined
let b: LayerdNode | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.begin(here)
  const args = await story.closedSwarm()
  a = await story.node('a', { args })
  b = await story.node('b', { seed: a, args })
})

afterAll(() => story?.end())

/** What `beforeAll` has set up; ends the test where that was not possible. */
function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!story || !a || !b) throw new Error('the registry or a node did not start')
  const { images, upstream } = story
  context.onTestFailed(() => story?.showLogs())
  return { story, images, upstream, a, b }
}

/** A new client pulls the OCI image that it can read and the Docker one, sees their digests, and runs both. */
function pullsAndRuns(client: Client, story: Story, node: LayerdNode): Promise<void> {
  return story.at(node, async (environment) => {
    const session = await client.start(environment)
    try {
      const { big, gzip, schema2 } = story.images
      for (const image of [client.zstd ? big : gzip, schema2]) {
        const expected = [image.digest, ...(client.whole ? image.contents : [])]
        expect(await session.pull(image), image.repository).toEqual(expect.arrayContaining(expected))
        expect(await session.run(image), image.repository).toBe(image.marks)
      }
    } finally {
      await session.stop()
    }
  })
}

/** An SBOM and a signature can be pulled by their tags. */
function pullsAttached(story: Story, node: LayerdNode): Promise<void> {
  return story.at(node, async (environment) => {
    const { sbom, signature } = story.images.attached
    expect(await artifactDigest(environment, sbom)).toBe(sbom.digest)
    expect(await artifactFile(environment, sbom, 'sbom.spdx.json')).toContain('SPDX-2.3')
    expect(await artifactDigest(environment, signature)).toBe(signature.digest)
  })
}

describe('through node A, with upstream on', () => {
  for (const client of CLIENTS) {
    test(client.name, async (context) => {
      const { story, a } = stage(context)
      await pullsAndRuns(client, story, a)
    })
  }

  test('SBOM, signature and the list of referrers', async (context) => {
    const { story, images, a } = stage(context)
    await pullsAttached(story, a)
    expect(await story.at(a, (it) => referrersOf(it, images.big))).toEqual([images.attached.sbom.digest])
  })

  test('node A took the whole content from upstream', async (context) => {
    const { images, a } = stage(context)
    expect(images.big.size).toBeGreaterThan(200e6)
    expect((await a.fetched()).upstream).toBeGreaterThanOrEqual(images.big.size)
  })
})

describe('through node B, with upstream off', () => {
  test('upstream is off', async (context) => {
    const { upstream } = stage(context)
    await upstream.off()
    expect(await upstream.answers()).toBe(false)
  })

  for (const client of CLIENTS) {
    test(client.name, async (context) => {
      const { story, b } = stage(context)
      await pullsAndRuns(client, story, b)
    })
  }

  test('SBOM and signature', async (context) => {
    const { story, b } = stage(context)
    await pullsAttached(story, b)
  })

  test('node B took everything from node A and nothing from upstream', async (context) => {
    const { images, b } = stage(context)
    const { upstream, peer } = await b.fetched()
    expect(upstream).toBe(0)
    expect(peer).toBeGreaterThanOrEqual(images.big.size)
  })
})
