import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Completion } from '../../../daemon/fetch/completion.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'

// Fake time does not reach the timers that are promises.
vi.mock('node:timers/promises', () => ({
  setTimeout: (ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)),
}))
beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const digest = (name: string) => digestOf(Buffer.from(name))
const described = (name: string) => ({ digest: digest(name), size: 10 })
const manifest = Buffer.from(
  JSON.stringify({ schemaVersion: 2, config: described('config'), layers: ['base', 'top'].map(described) }),
)
const manifestOf = (image: number) =>
  Buffer.from(JSON.stringify({ schemaVersion: 2, layers: [described(`layer ${image}`)] }))
const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1_000)

function setUp({ mayPeersHave = true, room = Number.POSITIVE_INFINITY } = {}) {
  const held = new Set<Digest>()
  const fetched: Digest[] = []
  const told: ContentRequest[] = []
  const completion = new Completion({
    store: {
      has: (one) => held.has(one),
      fits: async (bytes) => bytes <= room,
    },
    access: { identityOf: () => 'node' },
    rules: { mayCache: () => true },
    mayPeersHave: async (asked) => {
      told.push(asked)
      return mayPeersHave
    },
    hold: async (request) => {
      fetched.push(request.digest)
      held.add(request.digest)
    },
    rate: 1e9,
    limit: 1e9,
    rightsLast: 3_600_000,
    logger: { info: () => {} },
  })
  const request = (kind: ContentRequest['kind'], name: string, isEngine: boolean): ContentRequest => {
    const { signal } = new AbortController()
    return { kind, digest: digest(name), repository: { registry: 'a.b', name: 'app' }, isEngine, signal }
  }
  const pulls = (isEngine: boolean) => completion.passes(request('manifest', 'manifest', isEngine), manifest)
  const gets = (name: string, isEngine: boolean) => {
    completion.asked(request('blob', name, isEngine))()
    held.add(digest(name))
  }
  return { completion, held, fetched, told, pulls, gets }
}

test('a client that asks for its first layer after some time has pulled the image', async () => {
  const { fetched, pulls, gets } = setUp()
  pulls(false)
  await seconds(50)
  gets('top', false)
  await seconds(5)
  expect(fetched).toEqual([digest('config'), digest('base')])
})

test('one that asks for nothing more has looked at it, be it an engine', async () => {
  const { fetched, pulls, gets } = setUp()
  pulls(true)
  await seconds(90)
  gets('config', true)
  await seconds(90)
  expect(fetched).toEqual([])
})

test.each(['config', 'base'])(
  'an engine pulls an image of which this node has something already: its %s',
  async (part) => {
    const { held, fetched, pulls } = setUp()
    held.add(digest(part))
    pulls(true)
    await seconds(5)
    expect(fetched).toHaveLength(2)
  },
)

test('an engine stays one, whatever else is asked for in its name', async () => {
  const { fetched, pulls, gets } = setUp()
  pulls(true)
  gets('config', false)
  await seconds(5)
  expect(fetched).toEqual([digest('base'), digest('top')])
})

test('what no peer may have is not fetched for them', async () => {
  const { fetched, pulls, gets } = setUp({ mayPeersHave: false })
  pulls(true)
  gets('top', true)
  await seconds(5)
  expect(fetched).toEqual([])
})

test('whether peers may have an image is asked of its manifest, as its client would', async () => {
  const { told, pulls, gets } = setUp()
  pulls(true)
  gets('top', true)
  await seconds(5)
  expect(told[0]).toMatchObject({ kind: 'manifest', digest: digest('manifest'), isEngine: true })
  expect(told[0]?.signal.aborted).toBe(false)
})

test('only free room is taken', async () => {
  const { fetched, pulls, gets } = setUp({ room: 15 })
  pulls(true)
  gets('top', true)
  await seconds(5)
  expect(fetched).toEqual([])
})

test('those who look at many images push out no pull whose layers are still coming', async () => {
  const { completion, held, fetched, pulls } = setUp()
  const { signal } = new AbortController()
  const request = (kind: ContentRequest['kind'], name: string) =>
    ({ kind, digest: digest(name), repository: { registry: 'a.b', name: 'app' }, signal }) as const
  pulls(false)
  const end = completion.asked(request('blob', 'top'))
  for (let image = 0; image < 200; image++) completion.passes(request('manifest', `other ${image}`), manifestOf(image))
  held.add(digest('top'))
  end()
  await seconds(5)
  expect(fetched).toEqual([digest('config'), digest('base')])
})

test('of the images of one visit, those are followed that have not too many blobs together', async () => {
  const { completion, fetched } = setUp()
  const { signal } = new AbortController()
  const request = (name: string) =>
    ({ kind: 'manifest', digest: digest(name), repository: { registry: 'a.b', name: 'app' }, signal }) as const
  const names = ['one', 'two', 'three']
  const index = { schemaVersion: 2, manifests: names.map(described) }
  completion.passes(request('index'), Buffer.from(JSON.stringify(index)))
  for (const name of names) {
    const layers = Array.from({ length: 4_000 }, (_, number) => described(`${name} ${number}`))
    completion.passes(request(name), Buffer.from(JSON.stringify({ schemaVersion: 2, layers })))
  }
  completion.asked({ ...request('three 1'), kind: 'blob' })()
  await seconds(5)
  expect(fetched).toEqual([])
  completion.asked({ ...request('two 1'), kind: 'blob' })()
  await seconds(5)
  expect(fetched.length).toBeGreaterThan(0)
})
