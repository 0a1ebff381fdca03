import { describe, expect, it } from 'vitest'
import { AccessControl } from '../../../daemon/fetch/access.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../../proxy/upstream/types.ts'

const digest = digestOf(Buffer.from('layer'))
const signal = new AbortController().signal

function setUp() {
  let now = 1_000_000
  let answer: UpstreamErrorCode | 'yes' = 'yes'
  let asked = 0
  let probes = 0
  let isPublic = false
  const grants = new Map<string, number>()
  const access = new AccessControl({
    metadata: {
      grant: async (key) => grants.get(key),
      putGrant: async (key, at) => void grants.set(key, at),
      deleteGrant: async (key) => void grants.delete(key),
    },
    upstream: {
      isSilent: () => false,
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
    },
    identityKey: 'key',
    freshFor: 1000,
    offlineFor: 10_000,
    patience: 50,
    now: () => now,
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
    expect(await access.check(request('Basic a'), true)).toBe('private')
    expect(asked()).toBe(0)
    expect(await access.check(request('Basic a'), false)).toBe('private')
    expect(asked()).toBe(1)
  })

  it('asks upstream for another identity, another repository, and an old grant', async () => {
    const { access, request, asked, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    upstreamSays('unauthorized')
    expect(await access.check(request('Basic b'), true)).toBeUndefined()
    expect(await access.check(request(), true)).toBeUndefined()
    expect(await access.check(request('Basic a', 'me/other'), true)).toBeUndefined()
    pass(1001)
    expect(await access.check(request('Basic a'), true)).toBeUndefined()
    expect(asked()).toBe(4)
  })

  it('keeps a grant for longer while upstream can not be reached, but not for ever, and not when it says no', async () => {
    const { access, request, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    pass(9999)
    upstreamSays('unreachable')
    expect(await access.check(request('Basic a'), true)).toBe('private')
    expect(await access.check(request('Basic a'), false)).toBeUndefined()
    upstreamSays('denied')
    expect(await access.check(request('Basic a'), true)).toBeUndefined()
    upstreamSays('unreachable')
    pass(2)
    expect(await access.check(request('Basic a'), true)).toBeUndefined()
    expect(await access.check(request('Basic b'), true)).toBeUndefined()
  })

  it('ends a grant with a refusal, so that going offline does not bring it back', async () => {
    const { access, request, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    pass(2000)
    upstreamSays('unauthorized')
    expect(await access.check(request('Basic a'), true)).toBeUndefined()
    upstreamSays('unreachable')
    expect(await access.check(request('Basic a'), true)).toBeUndefined()
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

  it('keeps no secret', async () => {
    const { access, request, grants } = setUp()
    await access.accepted(request('Basic c2VjcmV0'), 'private')
    expect([...grants.keys()]).toEqual([expect.stringMatching(/^docker\.io\/me\/app client:[0-9a-f]{64}$/)])
  })

  it('is confirmed by upstream alone where that is asked for: by no grant, and not while upstream can not be asked', async () => {
    const { access, request, grants, asked, upstreamSays } = setUp()
    await access.accepted(request('Basic a'), 'private')
    expect(await access.confirm(request('Basic a'))).toBe('private')
    expect(asked()).toBe(1)
    upstreamSays('unreachable')
    await expect(access.confirm(request('Basic a'))).rejects.toMatchObject({ code: 'unreachable' })
    expect(grants.size).toBe(1)
    upstreamSays('denied')
    await expect(access.confirm(request('Basic a'))).rejects.toMatchObject({ code: 'denied' })
    expect(grants.size).toBe(0)
  })
})
