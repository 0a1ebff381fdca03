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
  const grants = new Map<string, number>()
  const access = new AccessControl({
    metadata: {
      grant: async (key) => grants.get(key),
      putGrant: async (key, at) => void grants.set(key, at),
    },
    upstream: {
      stat: async () => {
        asked++
        if (answer !== 'yes') throw new UpstreamError(answer, 'no')
        return { digest, mediaType: undefined, size: 1, access: 'private' as const }
      },
    },
    identityKey: 'key',
    freshFor: 1000,
    offlineFor: 10_000,
    now: () => now,
  })
  const request = (authorization?: string, name = 'me/app') =>
    ({ kind: 'blob', repository: { registry: 'docker.io', name }, digest, authorization, signal }) as const
  return {
    access,
    grants,
    request,
    asked: () => asked,
    pass: (ms: number) => (now += ms),
    upstreamSays: (code: UpstreamErrorCode | 'yes') => (answer = code),
  }
}

describe('access to private content', () => {
  it('does not ask upstream again while a grant is fresh, for what is known to be in the repository', async () => {
    const { access, request, asked, pass } = setUp()
    await access.accepted(request('Basic a'))
    pass(999)
    expect(await access.mayHave(request('Basic a'), true)).toBe(true)
    expect(asked()).toBe(0)
    expect(await access.mayHave(request('Basic a'), false)).toBe(true)
    expect(asked()).toBe(1)
  })

  it('asks upstream for another identity, another repository, and an old grant', async () => {
    const { access, request, asked, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'))
    upstreamSays('unauthorized')
    expect(await access.mayHave(request('Basic b'), true)).toBe(false)
    expect(await access.mayHave(request(), true)).toBe(false)
    expect(await access.mayHave(request('Basic a', 'me/other'), true)).toBe(false)
    pass(1001)
    expect(await access.mayHave(request('Basic a'), true)).toBe(false)
    expect(asked()).toBe(4)
  })

  it('keeps a grant for longer while upstream can not be reached, but not for ever, and not when it says no', async () => {
    const { access, request, pass, upstreamSays } = setUp()
    await access.accepted(request('Basic a'))
    pass(9999)
    upstreamSays('unreachable')
    expect(await access.mayHave(request('Basic a'), true)).toBe(true)
    upstreamSays('denied')
    expect(await access.mayHave(request('Basic a'), true)).toBe(false)
    upstreamSays('unreachable')
    pass(2)
    expect(await access.mayHave(request('Basic a'), true)).toBe(false)
    expect(await access.mayHave(request('Basic b'), true)).toBe(false)
  })

  it('keeps no secret', async () => {
    const { access, request, grants } = setUp()
    await access.accepted(request('Basic c2VjcmV0'))
    expect([...grants.keys()]).toEqual([expect.stringMatching(/^docker\.io\/me\/app client:[0-9a-f]{64}$/)])
  })
})
