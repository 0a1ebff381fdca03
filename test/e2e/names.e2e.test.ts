import { afterAll, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import type { FixtureImage } from '../fixtures/images/images.ts'
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

/** What a client pulls of a node by a name that was pushed elsewhere. */
async function pulled(story: Story<FixtureImage>, node: LayerdNode, pusher: Pusher): Promise<string | undefined> {
  const name = `${addressOf(node)}/${repositoryOf(pusher)}`
  const url = `http://${addressOf(node)}/v2/${repositoryOf(pusher)}/manifests/1`
  await waitFor(`${name} to be known`, async () => (await fetch(url, { method: 'HEAD' })).ok, SPREAD_DEADLINE_MS)
  return await story.at(node, async (environment) => {
    const session = await pusher.start(environment)
    try {
      return await session.pull(story.images, `${name}:1`)
    } finally {
      await session.stop()
    }
  })
}

describe('pushes to one node, and pulls from the next', () => {
  for (const pusher of PUSHERS) {
    test(pusher.name, async (context) => {
      const { story, nodes } = stage(context)
      const [a, b] = nodes
      await story.at(a, async (environment) => {
        const session = await pusher.start(environment)
        try {
          await session.push(story.images, `${addressOf(a)}/${repositoryOf(pusher)}:1`)
        } finally {
          await session.stop()
        }
      })
      expect(await pulled(story, b, pusher)).toBe(story.images.marks)
    })
  }
})

test('what was pulled there is pulled from a third one when the first is off', async (context) => {
  const { story, nodes } = stage(context)
  const [a, , c] = nodes
  await a.stop()
  for (const pusher of PUSHERS) expect(await pulled(story, c, pusher), pusher.name).toBe(story.images.marks)
})
