import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import type { FixtureImage } from '../fixtures/images/images.ts'
import { ociManifest } from '../fixtures/registry-client.ts'
import { PUSHERS, type Pusher } from './clients/pushers.ts'
import { waitFor } from './exec.ts'
import { jail, leaveOut } from './jail.ts'
import type { LayerdNode } from './node.ts'
import { Story } from './story.ts'

// Clients push to one laptop of a closed swarm, pull from the next by the same name, and from a third one when the first is off.

const SPREAD_DEADLINE_MS = 30_000
/** Three nodes and a registry start one after the other. */
const START_DEADLINE_MS = 400_000
const here = jail()
let story: Story<FixtureImage> | undefined
let nodes: readonly [LayerdNode, LayerdNode, LayerdNode] | undefined

beforeAll(async () => {
  if (!here) return
  story = await Story.beginSmall(here)
  const args = await story.closedSwarm()
  const a = await story.node('a', { args })
  const b = await story.node('b', { args, seed: a })
  nodes = [a, b, await story.node('c', { args, seed: b })]
}, START_DEADLINE_MS)

afterAll(() => story?.end())

function stage(context: TestContext) {
  if (!here) leaveOut(context)
  if (!story || !nodes) throw new Error('the registry or a node did not start')
  context.onTestFailed(() => story?.showLogs())
  return { story, nodes }
}

const repositoryOf = ({ name }: Pusher) => `team/${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}`
const addressOf = ({ address }: LayerdNode) => address.replace('127.0.0.1', 'localhost')

const nameAt = (node: LayerdNode, pusher: Pusher) => `${addressOf(node)}/${repositoryOf(pusher)}`

/** HEAD of what a client has pushed, by its tag. */
function head(node: LayerdNode, pusher: Pusher, headers: Record<string, string> = {}): Promise<Response> {
  const url = `http://${addressOf(node)}/v2/${repositoryOf(pusher)}/manifests/1`
  return fetch(url, { method: 'HEAD', headers })
}

async function pushed(story: Story<FixtureImage>, node: LayerdNode, pusher: Pusher): Promise<void> {
  await story.at(node, async (environment) => {
    const session = await pusher.start(environment)
    try {
      await session.push(story.images, `${nameAt(node, pusher)}:1`)
    } finally {
      await session.stop()
    }
  })
}

/** What a client pulls of a node by a name that was pushed elsewhere. @param reference of the image, by its digest there */
async function pulled(
  story: Story<FixtureImage>,
  node: LayerdNode,
  pusher: Pusher,
  reference: (digest: string) => string,
): Promise<string | undefined> {
  const name = nameAt(node, pusher)
  await waitFor(`${name} to be known`, async () => (await head(node, pusher)).ok, SPREAD_DEADLINE_MS)
  const digest = (await head(node, pusher)).headers.get('docker-content-digest') ?? ''
  return await story.at(node, async (environment) => {
    const session = await pusher.start(environment)
    try {
      return await session.pull(story.images, `${name}${reference(digest)}`)
    } finally {
      await session.stop()
    }
  })
}

describe('pushes to one node, pulls from the next by digest, and pushes the same to that', () => {
  for (const pusher of PUSHERS) {
    test(pusher.name, async (context) => {
      const { story, nodes } = stage(context)
      const [a, b] = nodes
      await pushed(story, a, pusher)
      expect(await pulled(story, b, pusher, (digest) => `@${digest}`)).toBe(story.images.marks)
      // To a client that would push it, the node tells of what it keeps alone.
      const isKept = async () => (await head(b, pusher, { accept: `${ociManifest}, */*` })).ok
      expect(await isKept()).toBe(false)
      await pushed(story, b, pusher)
      expect(await isKept()).toBe(true)
    })
  }
})

test('what was pulled there is pulled from a third one when the first is off', async (context) => {
  const { story, nodes } = stage(context)
  const [a, , c] = nodes
  await a.stop()
  for (const pusher of PUSHERS) expect(await pulled(story, c, pusher, () => ':1'), pusher.name).toBe(story.images.marks)
})
