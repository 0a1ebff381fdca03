import { describe, expect, it } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { AccessControl, foundIn } from '../../../daemon/fetch/access.ts'
import { Publicity } from '../../../daemon/fetch/publicity.ts'
import { createRules } from '../../../daemon/rules.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { type Upstream, UpstreamError, type UpstreamErrorCode } from '../../../proxy/upstream/types.ts'

const digest = digestOf(Buffer.from('layer'))
const signal = new AbortController().signal

function setUp() {
  let now = 1_000_000
  let answer: UpstreamErrorCode | 'yes' = 'yes'
  let asked = 0
  let probes = 0
  let isPublic = false
  const grants = new Map<string, number>()
  const metadata = {
    grant: async (key: string) => grants.get(key),
    putGrant: async (key: string, at: number) => void grants.set(key, at),
    deleteGrant: async (key: string) => void grants.delete(key),
  }
  const upstream: Pick<Upstream, 'stat' | 'isSilent' | 'isKnownTo'> = {
    isSilent: () => false,
    isKnownTo: async () => false,
    stat: async ({ anonymous = false }) => {
      if (anonymous) {
        probes++
        if (!isPublic) throw new UpstreamError('unauthorized', 'no')
        return { digest, mediaType: undefined, size: 1, access: 'public' as const }
      }
      asked++
      if (answer !== 'yes') throw new UpstreamError(answer, 'no')
      return { digest, mediaType: undefined, size: 1, access: 'private' as const }
    },
  }
  const rules = createRules(configSchema.parse({}))
  const options = { metadata, upstream, patience: 50, offlineFor: 10_000, now: () => now }
  const access = new AccessControl({
    ...options,
    publicity: new Publicity({ ...options, rules, isClosed: false }),
    ownRegistry: 'localhost',
    identityKey: 'key',
    freshFor: 1000,
  })
  const request = (authorization?: string, name = 'me/app') =>
    ({ kind: 'blob', repository: { registry: 'docker.io', name }, digest, authorization, signal }) as const
  return {
    access,
    grants,
    request,
    asked: () => asked,
    probes: () => probes,
    makePublic: () => {
      isPublic = true
    },
    pass: (ms: number) => (now += ms),
    upstreamSays: (code: UpstreamErrorCode | 'yes') => (answer = code),
  }
}

describe('access to private content', () => {
  it('does not ask upstream again while a grant is fresh, for what is known to be in the repository', async () => {
    const { access, request, asked, pass } = setUp()
    await access.accepted(request('Basic a'), 'private')
    pass(999)
    expect(await access.check(request('Basic a'), 'repository')).toBe('private')
    expect(asked()).toBe(0)
    expect(await access.check(request('Basic a'), 'registry')).toBe('private')
    expect(asked()).toBe(1)
  })

  it('asks upstream for another identity, another repository, and an old grant', async () => {
    const { access, request, asked, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    upstreamSays('unauthorized')
    expect(await access.check(request('Basic b'), 'repository')).toBeUndefined()
    expect(await access.check(request(), 'repository')).toBeUndefined()
    expect(await access.check(request('Basic a', 'me/other'), 'repository')).toBeUndefined()
    pass(1001)
    expect(await access.check(request('Basic a'), 'repository')).toBeUndefined()
    expect(asked()).toBe(4)
  })

  it('keeps a grant for longer while upstream can not be reached, but not for ever, and not when it says no', async () => {
    const { access, request, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    pass(9999)
    upstreamSays('unreachable')
    expect(await access.check(request('Basic a'), 'repository')).toBe('private')
    expect(await access.check(request('Basic a'), 'registry')).toBeUndefined()
    upstreamSays('denied')
    expect(await access.check(request('Basic a'), 'repository')).toBeUndefined()
    upstreamSays('unreachable')
    pass(2)
    expect(await access.check(request('Basic a'), 'repository')).toBeUndefined()
    expect(await access.check(request('Basic b'), 'repository')).toBeUndefined()
  })

  it('ends a grant with a refusal, so that going offline does not bring it back', async () => {
    const { access, request, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    pass(2000)
    upstreamSays('unauthorized')
    expect(await access.check(request('Basic a'), 'repository')).toBeUndefined()
    upstreamSays('unreachable')
    expect(await access.check(request('Basic a'), 'repository')).toBeUndefined()
  })

  it('finds out once in a while that credentials were not needed', async () => {
    const { access, request, probes, makePublic, pass } = setUp()
    expect(await access.accepted(request(), 'private')).toBe('private')
    makePublic()
    expect(await access.accepted(request(), 'private')).toBe('private')
    expect(probes()).toBe(1)
    pass(3_600_001)
    expect(await access.accepted(request(), 'private')).toBe('public')
    expect(await access.accepted(request('Basic b'), 'private')).toBe('public')
    expect(probes()).toBe(2)
  })

  it('is not opened by a registry that has never given the content, whatever that answers', async () => {
    const { access, request, asked, probes, makePublic } = setUp()
    makePublic()
    await access.accepted(request('Basic a'), 'private')
    const before = [asked(), probes()]
    for (const by of ['Basic a', 'Basic b', undefined])
      expect(await access.check(request(by), 'elsewhere')).toBeUndefined()
    expect([asked(), probes()]).toEqual(before)
  })

  it('was found in the repository that is asked, in another one of its registry, or elsewhere', () => {
    const { request } = setUp()
    expect(foundIn(request(), ['quay.io/me/app', 'docker.io/me/app'])).toBe('repository')
    expect(foundIn(request(), ['quay.io/me/app', 'docker.io/you/app'])).toBe('registry')
    expect(foundIn(request(), ['quay.io/me/app', 'docker.io.evil.example/me/app'])).toBe('elsewhere')
    expect(foundIn(request(), [])).toBe('elsewhere')
  })

  it('keeps no secret', async () => {
    const { access, request, grants } = setUp()
    await access.accepted(request('Basic c2VjcmV0'), 'private')
    const client = expect.stringMatching(/^docker\.io\/me\/app client:[0-9a-f]{64}$/)
    expect([...grants.keys()]).toEqual(['docker.io/me/app somebody', client])
  })

  it('is confirmed by upstream alone where that is asked for: by no grant, and not while upstream can not be asked', async () => {
    const { access, request, grants, asked, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    expect(await access.confirm(request('Basic a'))).toBe('private')
    expect(asked()).toBe(1)
    upstreamSays('unreachable')
    await expect(access.confirm(request('Basic a'))).rejects.toMatchObject({ code: 'unreachable' })
    expect(grants.size).toBe(2)
    upstreamSays('denied')
    await expect(access.confirm(request('Basic a'))).rejects.toMatchObject({ code: 'denied' })
    expect([...grants.keys()]).toEqual(['docker.io/me/app somebody'])
  })
})

it('what members of a swarm have pushed is for whoever may ask here: no registry could say more', async () => {
  const { access, request, asked } = setUp()
  const local = { ...request(), repository: { registry: 'localhost', name: 'app' } }
  expect(await access.check(local, 'repository')).toBe('private')
  expect(await access.check(local, 'elsewhere')).toBeUndefined()
  expect(asked()).toBe(0)
})
