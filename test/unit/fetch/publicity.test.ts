import { describe, expect, it } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { mayPeersHave } from '../../../daemon/fetch/peers-may-have.ts'
import { Publicity } from '../../../daemon/fetch/publicity.ts'
import { createRules } from '../../../daemon/rules.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { type Access, UpstreamError, type UpstreamErrorCode } from '../../../proxy/upstream/types.ts'

const digest = digestOf(Buffer.from('layer'))
const hour = 3_600_000

interface Situation {
  readonly isClosed?: boolean
  /** Registries for which the node has credentials. */
  readonly known?: readonly string[]
  readonly says?: Access | UpstreamErrorCode
}

function setUp({ isClosed = false, known = [], says = 'public' }: Situation = {}) {
  const world = { now: 1e12, says, asked: 0, isSilent: false, answer: Promise.resolve() }
  const grants = new Map<string, number>()
  const make = () =>
    new Publicity({
      metadata: { grant: async (key) => grants.get(key), putGrant: async (key, at) => void grants.set(key, at) },
      upstream: {
        isSilent: () => world.isSilent,
        isKnownTo: async (registry) => known.includes(registry),
        stat: async ({ anonymous, authorization }) => {
          world.asked++
          expect([anonymous, authorization]).toEqual([true, undefined])
          await world.answer
          const { says: said } = world
          if (said !== 'public' && said !== 'private' && said !== 'foreign') throw new UpstreamError(said, 'no')
          return { digest, mediaType: undefined, size: 1, access: said }
        },
      },
      rules: createRules(configSchema.parse({ repositories: { neverShare: ['docker.io/library/never'] } })),
      isClosed,
      offlineFor: 24 * hour,
      patience: 50,
      now: () => world.now,
    })
  return { world, make, publicity: make() }
}

const request = (name: string, authorization?: string, registry = 'docker.io') =>
  ({
    kind: 'blob',
    digest,
    repository: { registry, name },
    authorization,
    signal: new AbortController().signal,
  }) as const

describe('whether peers may hear of what is asked for', () => {
  it.each([
    ['public by its name', 'library/app', undefined, true],
    ['public by its name, asked for with credentials', 'library/app', 'Basic a', true],
    ['never shared', 'library/never', undefined, false],
  ])('is known without a question where it is %s', async (_, name, authorization, expected) => {
    const { publicity, world } = setUp()
    expect(await publicity.mayTell(request(name, authorization))).toBe(expected)
    expect(world.asked).toBe(0)
  })

  it('is never so in an open swarm of a registry that nobody has called public, and always in a closed one', async () => {
    const lan = request('app', undefined, 'lan.example')
    for (const isClosed of [false, true]) {
      const { publicity, world } = setUp({ isClosed })
      expect([await publicity.mayTell(lan), await publicity.mayTellUnasked(lan)]).toEqual([isClosed, isClosed])
      expect(await publicity.mayTell(request('acme/app', 'Basic a'))).toBe(true)
      expect(world.asked).toBe(isClosed ? 0 : 1)
    }
  })

  it('is asked of upstream once an hour, as anybody could ask', async () => {
    const { publicity, world } = setUp()
    for (let time = 0; time < 3; time++) expect(await publicity.mayTell(request('acme/app', 'Basic a'))).toBe(true)
    expect(world.asked).toBe(1)
    world.now += hour + 1
    world.says = 'unauthorized'
    for (let time = 0; time < 3; time++) expect(await publicity.mayTell(request('acme/app', 'Basic a'))).toBe(false)
    expect(world.asked).toBe(2)
  })

  it('is asked again soon after a no, which may have been a bad moment', async () => {
    const { publicity, world } = setUp({ says: 'unauthorized' })
    expect(await publicity.mayTell(request('acme/app'))).toBe(false)
    world.says = 'public'
    world.now += hour / 10
    expect(await publicity.mayTell(request('acme/app'))).toBe(true)
  })

  it('is one question for all who want to know at the same time, and one who hangs up ends it for nobody', async () => {
    const { publicity, world } = setUp()
    const answer = Promise.withResolvers<void>()
    world.answer = answer.promise
    const hangsUp = new AbortController()
    const first = publicity.mayTell({ ...request('acme/app'), signal: hangsUp.signal })
    const others = [publicity.mayTell(request('acme/app')), publicity.mayTell(request('acme/app', 'Basic a'))]
    await expect.poll(() => world.asked).toBe(1)
    hangsUp.abort(new Error('hung up'))
    await expect(first).rejects.toThrow('hung up')
    answer.resolve()
    expect([await Promise.all(others), world.asked]).toEqual([[true, true], 1])
  })

  it.each(['private', 'foreign', 'denied', 'unauthorized', 'refused', 'not-found'] as const)(
    'is not so where the anonymous get %s',
    async (says) => {
      const { publicity } = setUp({ says })
      expect(await publicity.mayTell(request('acme/app'))).toBe(false)
    },
  )

  it('is not asked where upstream has given something without credentials, also before a restart', async () => {
    const { publicity, world, make } = setUp({ says: 'unauthorized' })
    await publicity.given(request('acme/app'), 'anybody')
    expect(await publicity.mayTell(request('acme/app', 'Basic a'))).toBe(true)
    expect(await make().mayTell(request('acme/app'))).toBe(true)
    expect(world.asked).toBe(0)
  })

  it('is asked again after a digest that is not there', async () => {
    const { publicity, world } = setUp({ says: 'not-found' })
    expect(await publicity.mayTell(request('acme/app'))).toBe(false)
    world.says = 'public'
    expect(await publicity.mayTell(request('acme/app'))).toBe(true)
  })

  it('says nothing of other content that was given for credentials', async () => {
    const { publicity, world } = setUp({ says: 'unauthorized' })
    await publicity.given(request('acme/app'), 'anybody')
    expect(await publicity.isGiven(request('acme/app'))).toBe(false)
    expect(await publicity.isGiven(request('acme/app'))).toBe(false)
    expect(world.asked).toBe(1)
  })
})

describe('while upstream can not be asked', () => {
  it.each([
    ['whoever is anonymous', {}, undefined, true],
    ['a client with credentials', {}, 'Basic a', false],
    ['the node with its own', { known: ['docker.io'] }, undefined, false],
  ])('%s asks peers for what nobody knows of a public registry: %j', async (_, situation, authorization, expected) => {
    for (const says of ['unreachable', 'rate-limited', 'broken'] as const) {
      const { publicity } = setUp({ ...situation, says })
      expect(await publicity.mayTell(request('acme/app', authorization))).toBe(expected)
      expect(await publicity.mayTellUnasked(request('acme/app', authorization))).toBe(expected)
    }
  })

  it('what it said last holds for longer, and private things stay so for the anonymous', async () => {
    const { publicity, world, make } = setUp({ says: 'unreachable' })
    await publicity.given(request('acme/open'), 'anybody')
    await publicity.given(request('acme/secret'), 'somebody')
    world.now += 23 * hour
    for (const one of [publicity, make()]) {
      expect(await one.mayTell(request('acme/open', 'Basic a'))).toBe(true)
      expect(await one.mayTell(request('acme/secret'))).toBe(false)
    }
    await publicity.given(request('acme/secret'), 'anybody')
    expect(await publicity.mayTell(request('acme/secret'))).toBe(true)
  })

  it('nobody waits for it again within a moment, whatever is asked for', async () => {
    const { publicity, world } = setUp({ says: 'unreachable' })
    for (let time = 0; time < 3; time++) expect(await publicity.mayTell(request('acme/app'))).toBe(true)
    expect(world.asked).toBe(1)
    world.now += 11_000
    world.says = 'unauthorized'
    expect([await publicity.mayTell(request('acme/app')), world.asked]).toEqual([false, 2])
  })

  it('nobody waits for it who has just done so for something else', async () => {
    const { publicity, world } = setUp({ says: 'unreachable' })
    expect(await publicity.mayTellUnasked(request('acme/app'))).toBe(true)
    expect([await publicity.mayTell(request('acme/app')), world.asked]).toEqual([true, 0])
    // It has come back.
    await publicity.given(request('acme/app'), 'somebody')
    world.says = 'unauthorized'
    expect([await publicity.mayTell(request('acme/app')), world.asked]).toEqual([false, 1])
  })

  it('nobody waits for a silent one that has said it before', async () => {
    const { publicity, world } = setUp({ says: 'unreachable' })
    await publicity.given(request('acme/open'), 'anybody')
    await publicity.given(request('acme/secret'), 'somebody')
    world.now += 2 * hour
    world.isSilent = true
    expect(await publicity.mayTell(request('acme/open'))).toBe(true)
    expect(await publicity.mayTell(request('acme/secret'))).toBe(false)
    expect(world.asked).toBe(0)
  })
})

it('peers may have the blobs of an image that came from them while upstream can not be asked, where a fetch may tell of it', async () => {
  const { publicity } = setUp({ says: 'unreachable' })
  const manifest = request('grafana/grafana')
  const tools = { store: { record: () => undefined }, isClosed: false, isPublic: () => true }
  const may = (mayTell: () => Promise<boolean | undefined>) => mayPeersHave({ ...tools, mayTell }, manifest)
  // Nothing is known of it without a question.
  expect(await may(() => publicity.knows(manifest))).toBe(false)
  expect(await may(() => publicity.mayTell(manifest))).toBe(true)
  const own = request('grafana/grafana', 'Basic a')
  expect(await may(() => publicity.mayTell(own))).toBe(false)
})
