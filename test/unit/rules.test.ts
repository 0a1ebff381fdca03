import { describe, expect, it } from 'vitest'
import { wellKnownRegistries } from '../../config/registries.ts'
import { configSchema } from '../../config/schema.ts'
import { createRules } from '../../daemon/rules.ts'
import { announcements, sharingPolicy } from '../../daemon/sharing.ts'
import type { BlobRecord } from '../../daemon/store/metadata.ts'
import { digestOf } from '../../proxy/oci/digest.ts'

const rulesOf = (config: object) => createRules(configSchema.parse(config))

describe('rules', () => {
  it('allow everything where there are none', () => {
    const rules = rulesOf({})
    const name = 'docker.io/library/x'
    expect([rules.cachesAll, rules.sharesAll, rules.mayCache(name), rules.mayShare(name)]).toEqual(Array(4).fill(true))
    expect([rules.mustAsk(name), rules.freshFor(name, 'latest')]).toEqual([false, 10_000])
  })

  it('share nothing that is not kept', () => {
    const rules = rulesOf({ repositories: { neverCache: ['a.b/c'], neverShare: ['a.b/d'] } })
    expect(['a.b/c', 'a.b/d', 'a.b/e'].map((name) => [rules.mayCache(name), rules.mayShare(name)])).toEqual([
      [false, false],
      [true, false],
      [true, true],
    ])
    expect([rules.cachesAll, rules.sharesAll]).toEqual([false, false])
    expect(rulesOf({ repositories: { neverShare: ['a.b/d'] } })).toMatchObject({ cachesAll: true, sharesAll: false })
  })

  it('say how fresh a tag has to be: always asked before immutable, that before the last pattern, that before the default', () => {
    const rules = rulesOf({
      repositories: { alwaysAsk: ['a.b/asked'] },
      tags: { freshFor: '7s', freshness: ['*=1m', 'latest=0s', 'a.b/slow:*=1h'], immutable: ['v*.*.*', 'a.b/fixed:*'] },
    })
    expect(rules.freshFor('a.b/x', 'nightly')).toBe(60_000)
    expect(rules.freshFor('a.b/x', 'latest')).toBe(0)
    expect(rules.freshFor('a.b/slow', 'latest')).toBe(3_600_000)
    expect(rules.freshFor('a.b/slow', 'v1.2.3')).toBe(Number.POSITIVE_INFINITY)
    expect(rules.freshFor('a.b/fixed', 'latest')).toBe(Number.POSITIVE_INFINITY)
    expect(rules.freshFor('a.b/asked', 'v1.2.3')).toBe(0)
    expect(rulesOf({ tags: { freshFor: '7s', freshness: ['latest=0s'] } }).freshFor('a.b/x', 'y')).toBe(7_000)
  })
})

const digest = digestOf(Buffer.from('blob'))

const record = (fields: Partial<BlobRecord>): BlobRecord => ({
  size: 1,
  public: true,
  repositories: [],
  createdAt: 0,
  lastAccess: 0,
  ...fields,
})

describe('what peers are told of a blob on disk', () => {
  const rules = rulesOf({ repositories: { public: ['a.b/**'], neverShare: ['a.b/secret', 'a.b/other'] } })
  const told = (fields: Partial<BlobRecord>, isClosed: boolean) => {
    const shown = sharingPolicy(rules, isClosed)(record(fields), digest)
    return shown && { public: shown.public, repositories: shown.repositories }
  }

  it.each([
    ['found in a repository that is never shared only', ['a.b/secret'], ['a.b/secret'], undefined, undefined],
    ['found in several of those', ['a.b/secret', 'a.b/other'], ['a.b/other'], undefined, undefined],
    ['of unknown origin', [], [], undefined, undefined],
    ['public in another one as well', ['a.b/secret', 'a.b/open'], ['a.b/open'], true, true],
    // Anybody may have it in the one of which nothing may be said.
    ['private in another one', ['a.b/secret', 'a.b/open'], ['a.b/secret'], undefined, false],
    ['public there, as an earlier version has it', ['a.b/secret', 'a.b/open'], undefined, undefined, false],
    ['public elsewhere only, as an earlier version has it', ['a.b/open'], undefined, true, true],
  ])('%s', (_what, repositories, publicIn, inOpenSwarm, inClosedSwarm) => {
    const expected = (isPublic: boolean | undefined) =>
      isPublic === undefined ? undefined : { public: isPublic, repositories: ['a.b/open'] }
    expect(told({ repositories, publicIn }, false)).toEqual(expected(inOpenSwarm))
    expect(told({ repositories, publicIn }, true)).toEqual(expected(inClosedSwarm))
  })

  it('is its record as it is in a closed swarm, without rules', () => {
    const isPrivate = record({ public: false })
    expect(sharingPolicy(rulesOf({}), true)(isPrivate, digest)).toBe(isPrivate)
  })

  it('is nothing in an open swarm of a registry that may be for its network only', () => {
    const policy = sharingPolicy(rulesOf({}), false)
    const shown = (one: BlobRecord) => policy(one, digest)
    expect(shown(record({ repositories: ['lan.example/app'], publicIn: ['lan.example/app'] }))).toBeUndefined()
    expect(shown(record({ repositories: ['lan.example/app'] }))).toBeUndefined()
    const both = ['lan.example/app', 'docker.io/acme/app']
    expect(shown(record({ repositories: both, publicIn: ['lan.example/app'] }))).toBeUndefined()
    expect(shown(record({ repositories: both }))).toBeUndefined()
    const known = { public: true, repositories: ['docker.io/acme/app'] }
    expect(shown(record({ repositories: both, publicIn: both }))).toMatchObject(known)
    expect(shown(record({ public: false, repositories: ['docker.io/acme/app'], publicIn: [] }))).toBeUndefined()
  })
})

describe('what peers are told of a blob that was pushed', () => {
  const pushedTo = () => ['localhost/app']
  const told = (fields: Partial<BlobRecord>, isClosed: boolean, repositories: object = {}) => {
    const rules = rulesOf({ repositories: { neverShare: ['lan.example/secret'], ...repositories } })
    const shown = sharingPolicy(rules, isClosed, pushedTo)(record({ kept: true, ...fields }), digest)
    return shown && { public: shown.public, repositories: shown.repositories }
  }
  const asPushed = (isPublic: boolean, ...found: string[]) => ({
    public: isPublic,
    repositories: [...found, 'localhost/app'],
  })

  it('is public among strangers, and private among members, who may be among strangers later', () => {
    expect(told({ public: false }, false)).toEqual(asPushed(true))
    expect(told({ public: false }, true)).toEqual(asPushed(false))
    // A member that has it, without the swarm's key.
    const pulled = record({ public: false, repositories: ['localhost/app'], publicIn: [] })
    expect(sharingPolicy(rulesOf({}), false)(pulled, digest)).toBeUndefined()
    expect(told({ public: false, repositories: ['localhost/app'] }, false)).toEqual(asPushed(true))
  })

  it.each([['lan.example/base'], ['docker.io/acme/base']])('says no more of a layer that is private in %s', (base) => {
    const layer = { public: false, repositories: [base], publicIn: [] }
    expect(told(layer, false)).toBeUndefined()
    expect(told(layer, true)).toEqual(asPushed(false, base))
    expect(told({ ...layer, public: true, publicIn: [base] }, true)).toEqual(asPushed(true, base))
    expect(told(layer, false, { public: ['localhost/**'] })).toEqual(asPushed(true))
  })

  it('is nothing for a layer of an image that is never shared', () => {
    const layer = { public: true, repositories: ['lan.example/secret'], publicIn: ['lan.example/secret'] }
    for (const isClosed of [true, false]) expect(told(layer, isClosed)).toBeUndefined()
  })
})

describe('what strangers may hear of', () => {
  it.each([
    ['docker.io/library/alpine', 'told'],
    ['registry.k8s.io/pause', 'told'],
    ['docker.io/acme/app', 'proven'],
    ['ghcr.io/acme/app', 'proven'],
    ['docker.io/acme/never', 'nothing'],
    ['lan.example/app', 'nothing'],
    ['lan.example/open/app', 'told'],
    ['lan.example/open/secret', 'nothing'],
    ['127.0.0.1:5000/app', 'nothing'],
  ] as const)('of %s: %s', (repository, expected) => {
    const registries = { ...wellKnownRegistries, 'lan.example': { endpoint: 'https://lan.example' } }
    const lists = { public: ['lan.example/open/**', '!lan.example/open/secret'], neverShare: ['docker.io/acme/never'] }
    expect(rulesOf({ registries, repositories: lists }).toStrangers(repository)).toBe(expected)
  })

  it.each([
    ['at another address', { endpoint: 'https://mirror.example' }],
    ['in a folder of its address', { endpoint: 'https://registry-1.docker.io/hub', overridePath: true }],
    ['that is not known to be itself', { endpoint: 'https://registry-1.docker.io', insecure: true }],
  ])('is nothing of a well-known registry %s', (_, registry) => {
    const rules = rulesOf({ registries: { 'docker.io': registry } })
    expect(rules.toStrangers('docker.io/library/alpine')).toBe('nothing')
    expect(rulesOf({ registries: {} }).toStrangers('docker.io/library/alpine')).toBe('nothing')
  })

  it('is the same of a well-known registry through a proxy, and with a login', () => {
    const endpoint = 'https://registry-1.docker.io/'
    const registries = {
      'docker.io': { endpoint, proxy: 'http://proxy.example:3128', username: 'a', password: 'b' },
    }
    expect(rulesOf({ registries }).toStrangers('docker.io/library/alpine')).toBe('told')
  })
})

describe('announcements', () => {
  const hidden = record({ repositories: ['a.b/secret'], publicIn: ['a.b/secret'] })
  const shown = record({ repositories: ['a.b/secret', 'a.b/open'], publicIn: ['a.b/open'] })
  const more = record({ repositories: ['a.b/open', 'a.b/third'], publicIn: ['a.b/open'] })

  it('are made of a blob when it may be shared for the first time, and taken back of no other', async () => {
    const told: string[] = []
    const swarm = {
      advertise: () => void told.push('advertised'),
      withdraw: async () => void told.push('withdrawn'),
    }
    const rules = rulesOf({ repositories: { public: ['a.b/**'], neverShare: ['a.b/secret'] } })
    const events = announcements(sharingPolicy(rules, false), () => swarm)
    events.stored(digest, hidden)
    await events.removing(digest, hidden)
    expect(told).toEqual([])
    events.stored(digest, shown, hidden)
    events.stored(digest, more, shown)
    expect(told).toEqual(['advertised'])
    events.stored(digest, shown)
    await events.removing(digest, shown)
    expect(told).toEqual(['advertised', 'advertised', 'withdrawn'])
  })
})
