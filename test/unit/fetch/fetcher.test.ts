import { generateKeyPair } from '@libp2p/crypto/keys'
import { describe, expect, it, onTestFinished } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { Fetcher } from '../../../daemon/fetch/fetcher.ts'
import { createRules } from '../../../daemon/rules.ts'
import { Sharing } from '../../../daemon/share/sharing.ts'
import { ListSigner } from '../../../daemon/share/signed-list.ts'
import { sharingPolicy } from '../../../daemon/sharing.ts'
import { loadEngine } from '../../../daemon/verify/sha256.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import type { ContentRequest } from '../../../proxy/ports.ts'
import { UpstreamError } from '../../../proxy/upstream/types.ts'
import { collect, piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { openStore } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'

const bytes = pseudoRandomBytes(2_500_000, 'fetcher')
const digest = digestOf(bytes)

/** A fetcher of which the peers only note what they are asked. */
async function setUp(config: object) {
  const asked: string[] = []
  const given: string[] = []
  const wanted: string[] = []
  const swarm = {
    self: 'self',
    async *providers() {
      asked.push('providers')
      yield* []
    },
    open: async () => {
      asked.push('open')
      throw new Error('no')
    },
    stat: async () => {
      asked.push('stat')
      throw new Error('no')
    },
    ban: () => void asked.push('ban'),
  }
  const memory = new MemorySwarm().join('self')
  const { recorded } = memory.coordination
  memory.coordination.recorded = async (blob) => {
    asked.push('recorded')
    return await recorded(blob)
  }
  const content = { open: async () => undefined, list: async () => undefined }
  const sharing = new Sharing({ swarm: memory, content, onMoved: () => {} })
  memory.listen(sharing)
  onTestFinished(() => sharing.stop())
  const signer = new ListSigner(await generateKeyPair('Ed25519'), 'self')
  let isDown = false
  const upstream = {
    isSilent: () => false,
    stat: async () => {
      if (isDown) throw new UpstreamError('unreachable', 'it is down')
      return { digest, size: bytes.length, mediaType: undefined, access: 'public' }
    },
    open: async ({ offset, end }: { offset: number; end?: number }) => {
      if (isDown) throw new UpstreamError('unreachable', 'it is down')
      const body = piecesOf(bytes.subarray(offset, end === undefined ? undefined : end + 1), 65_536)
      return { start: offset, size: bytes.length, mediaType: undefined, access: 'public', body }
    },
  }
  const access = {
    identityOf: () => 'node',
    accepted: async () => 'public',
    check: async () => 'public',
    confirm: async () => 'public',
  }
  const store = await openStore()
  const engine = await loadEngine('portable')
  onTestFinished(() => engine.close())
  const rules = createRules(configSchema.parse(config))
  const told = sharingPolicy(rules, false)
  const mayTell = async ({ repository: { registry, name } }: Pick<ContentRequest, 'repository'>) =>
    rules.mayShare(`${registry}/${name}`)
  const publicity: ConstructorParameters<typeof Fetcher>[0]['publicity'] = {
    given: async ({ repository }, to) => void given.push(`${repository.name} ${to}`),
    knows: mayTell,
    mayTell: async (request) => {
      wanted.push(request.repository.name)
      return await mayTell(request)
    },
    mayTellUnasked: mayTell,
  }
  const fetcher = new Fetcher({
    store,
    metadata: { putReferrer: async () => {} },
    swarm: swarm as never,
    sharing,
    lonely: sharing,
    publicity,
    signer,
    upstream: upstream as never,
    access: access as never,
    engine,
    rules,
    isShared: (record, digest) => told(record, digest) !== undefined,
    isClosed: false,
    completion: { rate: 0, limit: 0, rightsLast: 0 },
    lookupTimeout: 10,
    patience: 1_000,
    onFetched: () => {},
    onVerified: () => {},
    onWasted: () => {},
    onUncached: () => {},
    logger: { debug: () => {}, info: () => {}, warn: () => {} },
  })
  onTestFinished(() => fetcher.close())
  const request = (name = 'secret'): ContentRequest => ({
    kind: 'blob',
    repository: { registry: 'a.b', name },
    digest,
    signal: new AbortController().signal,
  })
  const pull = async (name?: string, start = 0, end?: number) => {
    const content = await fetcher.open(request(name))
    try {
      return await collect(content.read(start, end, new AbortController().signal))
    } finally {
      await content.close()
    }
  }
  const goDown = () => {
    isDown = true
  }
  return { asked, given, wanted, store, fetcher, request, pull, goDown }
}

describe.each([
  ['never shared', { repositories: { neverShare: ['a.b/secret'] } }],
  ['never cached', { repositories: { neverCache: ['a.b/secret'] } }],
])('what is %s', (_name, config) => {
  it('is had without a question to the swarm, by GET and HEAD, whether upstream has it or not', async () => {
    const { asked, pull, fetcher, request } = await setUp(config)
    expect((await fetcher.stat(request())).size).toBe(bytes.length)
    expect(bytes.equals(await pull('secret'))).toBe(true)
    const failing = await setUp(config)
    failing.goDown()
    const refusal = { status: 503, message: expect.stringMatching(/by the rules of this node nobody else is asked$/) }
    await expect(failing.pull('secret')).rejects.toMatchObject(refusal)
    await expect(failing.fetcher.stat(request())).rejects.toMatchObject(refusal)
    expect([...asked, ...failing.asked]).toEqual([])
  })

  it('does not keep others from asking the swarm', async () => {
    const { asked, pull } = await setUp(config)
    expect(bytes.equals(await pull('open'))).toBe(true)
    expect(asked).toContain('recorded')
  })
})

describe('what is never cached', () => {
  it('is given in ranges from memory that its source uses again, and none of it gets to the store', async () => {
    const { store, pull } = await setUp({ repositories: { neverCache: ['a.b/secret'] } })
    expect((await pull('secret', 5, 9)).equals(bytes.subarray(5, 10))).toBe(true)
    expect((await pull('secret', 2_000_000)).equals(bytes.subarray(2_000_000))).toBe(true)
    expect(store.usage).toMatchObject({ blobs: 0, bytes: 0 })
  })

  it('is closed without being read', async () => {
    const { fetcher, request } = await setUp({ repositories: { neverCache: ['a.b/secret'] } })
    const content = await fetcher.open(request())
    expect(content).toMatchObject({ size: bytes.length, origin: 'upstream' })
    await content.close()
    await content.close()
  })
})

describe('a private blob on disk', () => {
  it.each([
    ['never cached', { repositories: { neverCache: ['a.b/secret'] } }, ['a.b/open']],
    ['never shared', { repositories: { neverShare: ['a.b/secret'] } }, ['a.b/open', 'a.b/secret']],
  ])('is given to those who may read a repository that is %s', async (_what, config, repositories) => {
    const { store, pull } = await setUp(config)
    const staging = await store.stage(digest, bytes.length, () => {})
    await staging.blob.write(bytes)
    await staging.blob.finish()
    await staging.commit({ mediaType: undefined, public: false, repository: 'a.b/open' })
    await staging.blob.close()
    expect(bytes.equals(await pull('secret'))).toBe(true)
    expect(store.record(digest)?.repositories).toEqual(repositories)
  })
})

describe('whether peers may hear of it', () => {
  it('is known once upstream has answered HEAD for anybody', async () => {
    const { fetcher, request, given } = await setUp({})
    await fetcher.stat(request('open'))
    expect(given).toEqual(['open anybody'])
  })

  it('is not asked by those who join a fetch that is under way', async () => {
    const { fetcher, request, wanted } = await setUp({})
    const first = await fetcher.open(request('open'))
    const second = await fetcher.open(request('open'))
    expect(wanted).toEqual(['open'])
    for (const content of [first, second]) {
      expect(bytes.equals(await collect(content.read(0, undefined, new AbortController().signal)))).toBe(true)
      await content.close()
    }
  })
})
