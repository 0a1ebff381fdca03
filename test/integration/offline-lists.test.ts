import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const ociIndex = 'application/vnd.oci.image.index.v1+json'
const authorization = `Basic ${Buffer.from('kim:quiet-river').toString('base64')}`

async function startUpstream(): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  return upstream
}

const startNode = (upstream: FakeUpstream, options: Parameters<typeof startTestNode>[0] = {}) =>
  startTestNode({ registries: { 'docker.io': upstream.url }, ...options })

/** An image, and what refers to it. */
function addImage(upstream: FakeUpstream, name: string) {
  const part = (text: string) => ({ digest: upstream.addBlob(Buffer.from(text)), size: text.length })
  const subject = upstream.addManifest({ schemaVersion: 2, config: part(name), layers: [] })
  const addReferrer = (artifactType: string) =>
    upstream.addManifest({
      schemaVersion: 2,
      artifactType,
      config: part('{}'),
      layers: [part(`${name} ${artifactType}`)],
      subject: { mediaType: ociManifest, digest: subject, size: 1 },
      annotations: { of: name },
    })
  return { subject, addReferrer }
}

interface Listed {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly json: { readonly tags?: string[]; readonly manifests?: { readonly digest: Digest }[] }
}

async function list(node: TestNode, path: string, headers: Record<string, string> = {}): Promise<Listed> {
  const answer = await ask(node.url, `/v2/docker.io/app/${path}`, { headers })
  return { ...answer, json: JSON.parse(answer.body.toString('utf8')) }
}

const get = async (node: TestNode, path: string) => {
  const answer = await ask(node.url, `/v2/docker.io/app/${path}`)
  expect([answer.status, answer.complete]).toEqual([200, true])
  return answer
}

describe('a tag list, while upstream can not be asked', () => {
  it('is what was given before, with the tags that were seen since, and says how old it is', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const { subject } = addImage(upstream, 'app')
    for (const tag of ['1', '2', 'latest']) upstream.tag('library/app', tag, subject)
    expect((await list(node, 'tags/list')).headers.warning).toBeUndefined()
    upstream.tag('library/app', 'later', subject)
    await get(node, 'manifests/later')
    await upstream.close()
    const before = Date.now()
    const known = await list(node, 'tags/list')
    expect([known.status, known.json]).toEqual([200, { name: 'library/app', tags: ['1', '2', 'later', 'latest'] }])
    const { warning = '' } = known.headers
    expect(warning).toMatch(/^299 - "docker\.io can't be asked; this list is of .*, and may lack some"$/)
    expect(before - Date.parse(/of (\S+Z)/.exec(warning)?.[1] ?? '')).toBeLessThan(60_000)
    const page = await list(node, 'tags/list?n=2&last=1')
    expect(page.json.tags).toEqual(['2', 'later'])
    expect(page.headers.link).toBe('</v2/docker.io/app/tags/list?n=2&last=later>; rel="next"')
    await until(() => node.log.some(({ msg, confirmedAt }) => msg === 'request' && typeof confirmedAt === 'string'))
  })

  it('is put together of its pages, and what upstream does not list any more is forgotten', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const { subject } = addImage(upstream, 'app')
    for (const tag of ['1', '2', '3', '4']) upstream.tag('library/app', tag, subject)
    for (const path of ['tags/list?n=2', 'tags/list?n=2&last=2']) expect((await list(node, path)).status).toBe(200)
    upstream.inject('/tags/list', faults.status(503), 8)
    expect((await list(node, 'tags/list')).json.tags).toEqual(['1', '2', '3', '4'])
    upstream.heal()
    upstream.inject('/tags/list', (answer) => {
      answer.body = Buffer.from('{"name":"library/app","tags":["3"]}')
    })
    expect((await list(node, 'tags/list')).json.tags).toEqual(['3'])
    await upstream.close()
    expect((await list(node, 'tags/list')).json.tags).toEqual(['3'])
  })

  it('is an error where nothing is known, or upstream has said no, or must be asked', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const strict = await startNode(upstream, { config: { repositories: { alwaysAsk: ['docker.io/**'] } } })
    const { subject } = addImage(upstream, 'app')
    upstream.tag('library/app', '1', subject)
    for (const one of [node, strict]) await list(one, 'tags/list')
    upstream.inject('/tags/list', faults.status(404), 1)
    expect((await list(node, 'tags/list')).status).toBe(404)
    await upstream.close()
    expect((await ask(node.url, '/v2/other/tags/list')).status).not.toBe(200)
    expect((await list(strict, 'tags/list')).status).toBe(503)
  })

  it('of a private repository is for those who got it', async () => {
    const upstream = await startUpstream()
    upstream.requireBasic('kim', 'quiet-river')
    const node = await startNode(upstream)
    const { subject } = addImage(upstream, 'app')
    upstream.tag('library/app', '1', subject)
    expect((await list(node, 'tags/list', { authorization })).json.tags).toEqual(['1'])
    await upstream.close()
    expect((await list(node, 'tags/list', { authorization })).json.tags).toEqual(['1'])
    const wrong = `Basic ${Buffer.from('kim:other').toString('base64')}`
    for (const headers of [{}, { authorization: wrong }]) {
      const refused = await list(node, 'tags/list', headers)
      expect([refused.status, refused.json.tags]).toEqual([503, undefined])
    }
  })
})

describe('referrers, while upstream can not be asked', () => {
  const digests = ({ json }: Listed) => json.manifests?.map(({ digest }) => digest).toSorted()

  it('are those that upstream gave, and those that are held, with filters', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream)
    const { subject, addReferrer } = addImage(upstream, 'app')
    const sbom = addReferrer('application/spdx+json')
    expect(digests(await list(node, `referrers/${subject}`))).toEqual([sbom])
    const signature = addReferrer('application/vnd.example.signature')
    await get(node, `manifests/${signature}`)
    await upstream.close()
    const known = await list(node, `referrers/${subject}`)
    expect(digests(known)).toEqual([sbom, signature].toSorted())
    expect(known.headers).toMatchObject({ 'content-type': ociIndex, warning: expect.stringContaining('may lack some') })
    const filtered = await list(node, `referrers/${subject}?artifactType=application%2Fvnd.example.signature`)
    expect(filtered.headers['oci-filters-applied']).toBe('artifactType')
    const size = (await get(node, `manifests/${signature}`)).body.length
    expect(filtered.json.manifests).toEqual([
      {
        mediaType: ociManifest,
        digest: signature,
        size,
        artifactType: 'application/vnd.example.signature',
        annotations: { of: 'app' },
      },
    ])
    const other = `referrers/${digestOf(Buffer.from('other'))}`
    const none = await list(node, other)
    expect([none.status, none.json.manifests]).toEqual([200, []])
    expect(none.headers.warning).toContain('nothing is known of this list')
    expect((await ask(node.url, `/v2/docker.io/never/seen/${other}`)).status).toBe(503)
    // The tag that stands for the list, where a client asks for that.
    const tag = await get(node, `manifests/${subject.replace(':', '-')}`)
    expect(JSON.parse(tag.body.toString('utf8')).manifests).toMatchObject([{ digest: sbom }])
  })

  it('are those of the tag that stands for them where the registry does not know the API', async () => {
    const upstream = await startUpstream()
    upstream.inject('/referrers/', faults.status(404))
    const node = await startNode(upstream)
    const { subject, addReferrer } = addImage(upstream, 'app')
    const sbom = addReferrer('application/spdx+json')
    const index = upstream.addManifest(
      { schemaVersion: 2, mediaType: ociIndex, manifests: [{ mediaType: ociManifest, digest: sbom, size: 1 }] },
      ociIndex,
    )
    upstream.tag('library/app', subject.replace(':', '-'), index)
    expect((await list(node, `referrers/${subject}`)).status).toBe(404)
    await get(node, `manifests/${subject.replace(':', '-')}`)
    await upstream.close()
    expect(digests(await list(node, `referrers/${subject}`))).toEqual([sbom])
  })

  it('are found at other nodes, and by way of one that has heard of them', async () => {
    const upstream = await startUpstream()
    const a = await startNode(upstream, { isClosed: true })
    const b = await startNode(upstream, { isClosed: true, seeds: [a] })
    await untilConnected(a, b)
    const { subject, addReferrer } = addImage(upstream, 'app')
    const sbom = addReferrer('application/spdx+json')
    upstream.tag('library/app', '1', subject)
    upstream.tag('library/app', `${subject.replace(':', '-')}.sig`, addReferrer('signature'))
    await list(a, `referrers/${subject}`)
    await list(a, 'tags/list')
    for (const name of ['1', `${subject.replace(':', '-')}.sig`, sbom]) await get(a, `manifests/${name}`)
    await upstream.close()
    const found = async (node: TestNode) => {
      expect(digests(await list(node, `referrers/${subject}`))).toContain(sbom)
      expect((await list(node, 'tags/list')).json.tags).toContain('1')
      for (const name of ['1', `${subject.replace(':', '-')}.sig`, sbom]) await get(node, `manifests/${name}`)
    }
    await found(b)
    const c = await startNode(upstream, { isClosed: true, seeds: [b] })
    await untilConnected(b, c)
    await a.stop()
    await found(c)
  })
})

describe('while upstream takes its time', () => {
  const impatient = { config: { tags: { patience: '200ms' } } }
  /** Holds the answers to requests until some time after the first of them: longer than a node is patient. */
  const slow = (upstream: FakeUpstream, path: string) =>
    upstream.hold(
      `GET /v2/library/app/${path}`,
      upstream.waitForRequest(`GET /v2/library/app/${path}`).then(() => delay(1_500)),
    )

  it('a list is waited for where only single tags or manifests were seen, and never empty', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream, impatient)
    const { subject, addReferrer } = addImage(upstream, 'app')
    const sbom = addReferrer('application/spdx+json')
    for (const tag of ['1', '2', '3']) upstream.tag('library/app', tag, subject)
    await get(node, 'manifests/1')
    slow(upstream, 'tags/list')
    slow(upstream, 'referrers/')
    const [tags, referrers] = await Promise.all([list(node, 'tags/list'), list(node, `referrers/${subject}`)])
    expect([tags.json.tags, tags.headers.warning]).toEqual([['1', '2', '3'], undefined])
    expect(referrers.json.manifests?.map(({ digest }) => digest)).toEqual([sbom])
  })

  it('a page is waited for where only other pages were given before', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream, impatient)
    const { subject } = addImage(upstream, 'app')
    for (const tag of ['1', '2', '3', '4']) upstream.tag('library/app', tag, subject)
    expect((await list(node, 'tags/list?n=2')).headers.link).toBeDefined()
    slow(upstream, 'tags/list')
    const next = await list(node, 'tags/list?n=2&last=2')
    expect([next.json.tags, next.headers.warning]).toEqual([['3', '4'], undefined])
  })

  it('the list that it gave before is answered, and what it gives in the end is kept', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream, impatient)
    const { subject, addReferrer } = addImage(upstream, 'app')
    const sbom = addReferrer('application/spdx+json')
    upstream.tag('library/app', '1', subject)
    await list(node, 'tags/list')
    await list(node, `referrers/${subject}`)
    upstream.tag('library/app', '2', subject)
    const signature = addReferrer('signature')
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    onTestFinished(() => open())
    for (const path of ['tags/list', 'referrers/']) upstream.hold(`GET /v2/library/app/${path}`, gate)
    for (const _ of [1, 2]) {
      const [tags, referrers] = await Promise.all([list(node, 'tags/list'), list(node, `referrers/${subject}`)])
      expect([tags.json.tags, tags.headers.warning]).toEqual([['1'], expect.stringContaining('may lack some')])
      expect(referrers.json.manifests?.map(({ digest }) => digest)).toEqual([sbom])
    }
    // All who ask meanwhile share one question, which goes on when they have gone.
    expect(upstream.seen('GET /v2/library/app/tags/list')).toHaveLength(2)
    open()
    upstream.inject(/tags\/list|referrers/, faults.hang())
    await until(async () => (await list(node, 'tags/list')).json.tags?.length === 2)
    await until(async () => (await list(node, `referrers/${subject}`)).json.manifests?.length === 2)
    expect((await list(node, `referrers/${subject}`)).json.manifests?.map(({ digest }) => digest)).toContain(signature)
  })

  it('referrers are answered at once, whatever is asked for the tag that stands for them', async () => {
    const upstream = await startUpstream()
    const node = await startNode(upstream, { config: { tags: { patience: '1s' } } })
    const { subject, addReferrer } = addImage(upstream, 'app')
    addReferrer('application/spdx+json')
    await list(node, `referrers/${subject}`)
    upstream.inject(/referrers|manifests/, faults.hang())
    expect((await list(node, `referrers/${subject}`)).json.manifests).toHaveLength(1)
    expect(upstream.seen(`manifests/${subject.replace(':', '-')}`)).toEqual([])
  })
})

describe('a list that is refused', () => {
  it.each([401, 403])('with %i takes nothing from whoever may pull', async (status) => {
    const upstream = await startUpstream()
    upstream.requireBasic('kim', 'quiet-river')
    const node = await startNode(upstream, { config: { access: { freshFor: '1ms' } } })
    const { subject } = addImage(upstream, 'app')
    const authorized = { headers: { authorization } }
    expect((await ask(node.url, `/v2/app/manifests/${subject}`, authorized)).status).toBe(200)
    upstream.inject('/tags/list', faults.status(status))
    expect((await ask(node.url, '/v2/app/tags/list', authorized)).status).toBeGreaterThan(400)
    await upstream.close()
    expect((await ask(node.url, `/v2/app/manifests/${subject}`, authorized)).status).toBe(200)
  })
})
