import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { PeerTags, type TagTrust, tagTrust } from '../../../daemon/fetch/peer-tags.ts'
import { Tags } from '../../../daemon/fetch/tags.ts'
import { createRules } from '../../../daemon/rules.ts'
import type { Role, Turn } from '../../../daemon/share/plan/messages.ts'
import type { Sharing } from '../../../daemon/share/sharing.ts'
import type { TagRecord } from '../../../daemon/store/metadata.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { type Access, UpstreamError, type UpstreamErrorCode } from '../../../proxy/upstream/types.ts'
import { signedTag } from '../../fixtures/tags.ts'

const [one, two, three] = ['1', '2', '3'].map((text) => digestOf(Buffer.from(text))) as [
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
  ReturnType<typeof digestOf>,
]
const repository = { registry: 'docker.io', name: 'library/app' }
const reference = 'docker.io/library/app:latest'

interface Situation {
  own?: Partial<TagRecord>
  peers?: readonly { readonly digest: typeof one; readonly confirmedAt: number; readonly at?: number }[]
  trust?: TagTrust
  /** Whether peers may hear of the repository; what the rules say where it is left out. */
  mayTell?: boolean | undefined
  patience?: number
  /** Rules, as they would stand in the YAML file. */
  config?: Readonly<Record<string, object>>
  /** What the coordinator says, by the number of the question; `nobody` where nobody asks upstream, `silent` for no answer. */
  roles?: readonly (Role | 'nobody' | 'silent')[]
}

const always = { repositories: { alwaysAsk: ['docker.io/library/*'] } }
const uncached = { repositories: { neverCache: ['docker.io/**'] } }
const unshared = { repositories: { neverShare: ['docker.io/**'] } }

const nobody = tagTrust('closed', false)
const members = tagTrust('closed', true)
const strangers = tagTrust('offline', false)

function setUp({
  own,
  peers = [],
  trust = nobody,
  mayTell,
  roles = ['head'],
  patience = 50,
  config = {},
}: Situation = {}) {
  const wishes: string[] = []
  const sharing: Pick<Sharing, 'turn' | 'turnEnded'> = {
    turn: async (blob, wish, asking): Promise<Turn | undefined> => {
      const role = roles[Math.min(wishes.length, roles.length - 1)] ?? 'none'
      wishes.push(wish)
      if (role === 'silent') return await once(asking, 'abort').then(() => undefined)
      const head = role === 'none' ? 'peer' : undefined
      return { blob, role: role === 'nobody' ? 'none' : role, head, brought: 0, members: ['peer'] }
    },
    turnEnded: (_, isDone) => void wishes.push(isDone ? 'done' : 'gone'),
  }
  const now = 1_000_000
  const rules = createRules(configSchema.parse({ ...config, tags: { freshFor: '1s', ...config.tags } }))
  let asked = 0
  let access: Access = 'public'
  const askedOfPeers: string[] = []
  const logged: object[] = []
  let answer: () => Promise<typeof one> = async () => one
  const records = new Map<string, TagRecord>()
  if (own !== undefined)
    records.set(reference, { digest: two, public: true, identity: 'node', confirmedAt: now, ...own })
  const tags = new Tags({
    metadata: { tag: async (key) => records.get(key), putTag: async (key, record) => void records.set(key, record) },
    peers: new PeerTags({
      swarm: {
        tags: async (name) => {
          askedOfPeers.push(name)
          return peers.map((said) => ({ ...signedTag(name, said), peer: 'teller' }))
        },
      },
      signers: [],
      logger: { debug: () => {} },
      now: () => now,
    }),
    sharing,
    trust,
    logger: { info: (facts) => void logged.push(facts) },
    keep: async () => {},
    upstream: {
      isSilent: () => false,
      resolveManifest: async () => {
        asked++
        return { digest: await answer(), mediaType: 'a/b', size: 5, access }
      },
    },
    access: {
      identityOf: ({ authorization }) => (authorization === undefined ? 'node' : `client:${authorization}`),
      accepted: async (_request, given) => given,
    },
    rules,
    publicity: {
      knows: async () => mayTell ?? rules.mayShare('docker.io/library/app'),
      mayTellUnasked: async () => mayTell ?? rules.mayShare('docker.io/library/app'),
    },
    patience,
    now: () => now,
  })
  const resolve = (authorization?: string, signal = new AbortController().signal) =>
    tags.resolve({ repository, tag: 'latest', authorization, signal })
  const fail = (code: UpstreamErrorCode) => {
    answer = () => Promise.reject(new UpstreamError(code, 'no'))
  }
  const answerWith = (next: typeof answer) => {
    answer = next
  }
  const makePrivate = () => {
    access = 'private'
  }
  return { now, records, logged, resolve, asked: () => asked, askedOfPeers, wishes, fail, answerWith, makePrivate }
}

describe('tags', () => {
  it('asks upstream, and remembers the answer', async () => {
    const { resolve, records, now } = setUp()
    expect(await resolve()).toEqual({ digest: one, mediaType: 'a/b', size: 5 })
    expect(records.get(reference)).toMatchObject({ digest: one, public: true, confirmedAt: now })
  })

  it('does not ask while a tag is fresh, unless it is private to somebody else', async () => {
    const fresh = setUp({ own: {} })
    expect(await fresh.resolve()).toMatchObject({ digest: two })
    expect(fresh.asked()).toBe(0)
    const foreign = setUp({ own: { public: false, identity: 'client:a' } })
    expect(await foreign.resolve('a')).toMatchObject({ digest: two })
    expect(await foreign.resolve('b')).toMatchObject({ digest: one })
    expect(foreign.asked()).toBe(1)
  })

  it('does not trust a clock that was set back', async () => {
    const { resolve } = setUp({ own: { confirmedAt: 1_000_001 } })
    expect(await resolve()).toMatchObject({ digest: one })
  })

  it('asks once for all that ask at the same time', async () => {
    const { resolve, asked } = setUp()
    await Promise.all(Array.from({ length: 50 }, () => resolve()))
    expect(asked()).toBe(1)
  })

  const before = { digest: one, confirmedAt: 10 }
  const newest = { digest: three, confirmedAt: 30 }

  it.each(['unreachable', 'broken', 'rate-limited'] as const)(
    'takes what this node heard last while upstream is %s, and asks no stranger',
    async (code) => {
      const { resolve, fail, askedOfPeers, records } = setUp({ own: { confirmedAt: 20 }, peers: [before, newest] })
      fail(code)
      expect(await resolve()).toEqual({ digest: two, confirmedAt: 20 })
      records.clear()
      await expect(resolve()).rejects.toMatchObject({ status: 503, message: /tags[.]trustPeers/ })
      expect(askedOfPeers).toEqual([])
    },
  )

  it.each(['unreachable', 'broken', 'rate-limited'] as const)(
    'takes the newest that a member of a closed swarm has signed while upstream is %s, and says who',
    async (code) => {
      const peers = [before, newest]
      const { resolve, fail, logged } = setUp({ own: { confirmedAt: 20 }, peers, trust: members, roles: ['head'] })
      fail(code)
      const { signer } = signedTag(reference, newest)
      expect(await resolve()).toEqual({ digest: three, confirmedAt: 30, confirmedBy: signer })
      expect(logged).toMatchObject([{ reference, digest: three, signer, peer: 'teller' }])
      const newer = setUp({ own: { confirmedAt: 40 }, peers, trust: members, roles: ['head'] })
      newer.fail(code)
      expect(await newer.resolve()).toEqual({ digest: two, confirmedAt: 40 })
    },
  )

  it('takes what strangers say where the user wants it, of what it does not know, while upstream can not be reached', async () => {
    const { resolve, fail, records, askedOfPeers } = setUp({
      own: { confirmedAt: 20 },
      peers: [before, newest],
      trust: strangers,
    })
    fail('unreachable')
    expect(await resolve()).toEqual({ digest: two, confirmedAt: 20 })
    records.clear()
    for (const code of ['broken', 'rate-limited'] as const) {
      fail(code)
      await expect(resolve()).rejects.toMatchObject({ status: 503 })
    }
    expect(askedOfPeers).toEqual([])
    fail('unreachable')
    expect(await resolve()).toMatchObject({ digest: three, confirmedAt: 30 })
  })

  it('asks no peer of what is not known to be public', async () => {
    for (const trust of [tagTrust('always', false), strangers]) {
      const { resolve, fail, askedOfPeers, wishes } = setUp({ peers: [newest], trust, mayTell: false, roles: ['none'] })
      fail('unreachable')
      await expect(resolve()).rejects.toMatchObject({ status: 503 })
      expect([askedOfPeers, wishes]).toEqual([[], []])
    }
  })

  it('takes nothing that was heard of peers once they are not trusted any more', async () => {
    const heard = { signer: 'x', at: 20, signature: '' }
    const { resolve, fail } = setUp({ own: { confirmedAt: 20, heard } })
    fail('unreachable')
    await expect(resolve()).rejects.toMatchObject({ status: 503 })
  })

  it('does not go by what it noted while its clock was ahead, where a member knows better', async () => {
    const { resolve, fail } = setUp({ own: { confirmedAt: 2_000_000 }, peers: [newest], trust: members })
    fail('unreachable')
    expect(await resolve()).toMatchObject({ digest: three })
  })

  it.each([
    ['not-found', 404],
    ['denied', 403],
    ['unauthorized', 401],
  ] as const)('believes upstream when it says %s', async (code, status) => {
    const { resolve, fail } = setUp({
      own: { confirmedAt: 20 },
      peers: [{ digest: one, confirmedAt: 30 }],
      trust: members,
    })
    fail(code)
    await expect(resolve()).rejects.toMatchObject({ status })
  })

  it('waits for an upstream that hangs only where nothing is known', async () => {
    const hanging = Promise.withResolvers<typeof one>()
    const known = setUp({ own: { confirmedAt: 20 } })
    known.answerWith(() => hanging.promise)
    expect(await known.resolve()).toEqual({ digest: two, confirmedAt: 20 })
    const unknown = setUp()
    unknown.answerWith(() => hanging.promise)
    const waiting = unknown.resolve()
    hanging.resolve(one)
    expect(await waiting).toMatchObject({ digest: one })
  })

  it('ends with the client', async () => {
    const gone = new AbortController()
    const { resolve, answerWith } = setUp()
    answerWith(() => new Promise(() => {}))
    const waiting = resolve(undefined, gone.signal)
    gone.abort(new Error('gone'))
    await expect(waiting).rejects.toThrow('gone')
  })
})

describe('tags in a fleet that is trusted', () => {
  const trusted = { trust: members, patience: 1_000 } as const

  it('asks upstream where the claim is granted, and says that it has done so', async () => {
    const { resolve, asked, wishes } = setUp({ ...trusted, roles: ['head', 'none'] })
    expect(await resolve()).toMatchObject({ digest: one })
    expect([asked(), wishes]).toEqual([1, ['part', 'done']])
  })

  it('takes what another node has just heard, for this asker only', async () => {
    const { resolve, asked, records } = setUp({
      ...trusted,
      roles: ['none'],
      peers: [{ digest: three, confirmedAt: 999_500 }],
    })
    expect(await resolve('somebody')).toMatchObject({ digest: three })
    expect(asked()).toBe(0)
    const heard = { signer: expect.stringMatching(/^12D3KooW/), at: 999_500, signature: expect.stringMatching(/==$/) }
    const record = { public: false, identity: 'client:somebody', confirmedAt: 999_500, heard }
    expect(records.get(reference)).toMatchObject(record)
  })

  it('does not take what is no longer fresh, and asks upstream in the end', async () => {
    const { resolve, asked } = setUp({
      ...trusted,
      roles: ['none', 'none', 'head'],
      peers: [{ digest: three, confirmedAt: 998_000 }],
    })
    expect(await resolve()).toMatchObject({ digest: one })
    expect(asked()).toBe(1)
  })

  it('asks upstream soon where the coordinator falls silent', async () => {
    // Longer than the test may take.
    const { resolve, asked } = setUp({ ...trusted, patience: 600_000, roles: ['nobody', 'silent', 'none'] })
    expect(await resolve()).toMatchObject({ digest: one })
    expect(asked()).toBe(1)
  })

  it('gives the claim back where upstream fails', async () => {
    const { resolve, fail, wishes } = setUp({ ...trusted, roles: ['head', 'none'] })
    fail('not-found')
    await expect(resolve()).rejects.toMatchObject({ code: 'MANIFEST_UNKNOWN' })
    expect(wishes).toEqual(['part', 'gone'])
  })

  it('is not asked where it is not trusted', async () => {
    const { resolve, wishes } = setUp({ roles: ['none'], peers: [{ digest: three, confirmedAt: 999_500 }] })
    expect(await resolve()).toMatchObject({ digest: one })
    expect(wishes).toEqual([])
  })
})

describe('tags with rules', () => {
  const old = { confirmedAt: 1 }
  const peers = [{ digest: three, confirmedAt: 999_999 }]
  const fleet = { trust: members, patience: 1_000, roles: ['none'], peers } as const

  it.each([
    ['an immutable one that was confirmed long ago', { tags: { immutable: ['lat*'] } }, old, two, 0],
    ['an immutable one, after the clock was set back', { tags: { immutable: ['*'] } }, { confirmedAt: 2e6 }, two, 0],
    ['one that is taken out of the immutable ones', { tags: { immutable: ['*', '!latest'] } }, old, one, 1],
    ['one that stays fresh for longer than others', { tags: { freshness: ['*=1h'] } }, old, two, 0],
    ['one that is never fresh', { tags: { freshness: ['*=1h', 'latest=0s'] } }, {}, one, 1],
    ['an immutable one of a repository that is always asked', { ...always, tags: { immutable: ['*'] } }, {}, one, 1],
    ['an immutable one of a repository that is never kept', { ...uncached, tags: { immutable: ['*'] } }, {}, one, 1],
  ])('answers %s by them', async (_what, config, own, digest, questions) => {
    const { resolve, asked } = setUp({ own, config })
    expect(await resolve()).toMatchObject({ digest })
    expect(asked()).toBe(questions)
  })

  it('asks once for each identity what a private tag is that never moves', async () => {
    const { resolve, asked, makePrivate, fail } = setUp({ config: { tags: { immutable: ['latest'] } } })
    makePrivate()
    for (const identity of ['a', 'b', 'a', undefined, 'b'])
      expect(await resolve(identity)).toMatchObject({ digest: one })
    expect(asked()).toBe(3)
    fail('unauthorized')
    expect(await resolve('a')).toMatchObject({ digest: one })
    await expect(resolve('c')).rejects.toMatchObject({ status: 401 })
  })

  it('believes a fleet about an immutable tag however long ago that heard of it, and not about one that is never fresh', async () => {
    const immutable = setUp({
      ...fleet,
      peers: [{ digest: three, confirmedAt: 1 }],
      config: { tags: { immutable: ['*'] } },
    })
    expect(await immutable.resolve()).toMatchObject({ digest: three })
    expect(immutable.asked()).toBe(0)
    const never = setUp({ ...fleet, config: { tags: { freshness: ['latest=0s'] } } })
    expect(await never.resolve()).toMatchObject({ digest: one })
    expect([never.asked(), never.wishes]).toEqual([1, []])
  })

  it('asks upstream for each request where it always has to, though they come together, and takes no other answer', async () => {
    const { resolve, asked, wishes, askedOfPeers, fail, answerWith } = setUp({ ...fleet, own: {}, config: always })
    await Promise.all(Array.from({ length: 5 }, () => resolve()))
    expect(asked()).toBe(5)
    fail('unreachable')
    const refusal = { status: 503, message: expect.stringMatching(/by the rules of this node nobody else is asked$/) }
    await expect(resolve()).rejects.toMatchObject(refusal)
    expect([wishes, askedOfPeers]).toEqual([[], []])
    // A slow one is waited for.
    const slow = setUp({ own: {}, peers, patience: 1, config: always })
    slow.answerWith(() => delay(30, one))
    expect(await slow.resolve()).toEqual({ digest: one, mediaType: 'a/b', size: 5 })
    answerWith(async () => two)
    expect(await resolve()).toMatchObject({ digest: two })
  })

  it('keeps nothing of what is never cached, and knows nothing of it', async () => {
    const { resolve, records, askedOfPeers, wishes, asked, fail } = setUp({ ...fleet, config: uncached })
    for (let time = 0; time < 2; time++) expect(await resolve()).toMatchObject({ digest: one })
    expect([asked(), records.size]).toEqual([2, 0])
    fail('unreachable')
    await expect(resolve()).rejects.toMatchObject({ status: 503 })
    expect([wishes, askedOfPeers]).toEqual([[], []])
  })

  it('asks no peer for what is never shared, and takes what this node heard itself', async () => {
    const { resolve, records, askedOfPeers, wishes, fail } = setUp({
      ...fleet,
      own: { confirmedAt: 20 },
      config: unshared,
    })
    fail('unreachable')
    expect(await resolve()).toEqual({ digest: two, confirmedAt: 20 })
    records.clear()
    await expect(resolve()).rejects.toMatchObject({ status: 503 })
    expect([wishes, askedOfPeers]).toEqual([[], []])
  })
})
