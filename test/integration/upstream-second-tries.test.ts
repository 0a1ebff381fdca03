import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'

// A second try is made once, remembered for the registry, and costs a registry that behaves nothing.

const bytes = randomBytes(300_000)
const digest = digestOf(bytes)
const mediaType = 'application/vnd.oci.image.manifest.v1+json'
const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers: [] }))
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`
const password = { username: 'node', password: 'secret' }

async function fakeWithImage(): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start()
  fake.addBlob(bytes)
  fake.tag('library/app', 'latest', fake.addManifest(manifest, mediaType))
  return fake
}

/** What was asked, in short: method and whether for a range. */
function asked(fake: FakeUpstream): string[] {
  return fake.requests.map(({ method, path, headers }) => {
    const what = path === '/v2/' ? 'root' : (/(token|manifests|blobs)/.exec(path)?.[1] ?? path)
    return [method, what, ...(headers.range === undefined ? [] : ['range'])].join(' ')
  })
}

test('a registry that behaves is asked once for each thing, also for what it does not have', async () => {
  await using fake = await fakeWithImage()
  await using client = new TestClient(fake, { registry: password })
  await client.resolve('latest')
  await client.pull(digest)
  await client.pull(digest, { offset: 5 })
  expect(asked(fake)).toEqual(['HEAD manifests', 'GET blobs', 'GET blobs range'])
  fake.requireBearer({ accounts: { node: 'secret' } })
  await client.resolve('latest')
  const before = fake.requests.length
  await client.pull(digest)
  const missing = digestOf(Buffer.from('missing'))
  await expect(client.open(missing)).rejects.toMatchObject({ code: 'not-found' })
  await expect(client.open(missing)).rejects.toMatchObject({ code: 'not-found' })
  expect(asked(fake).slice(before)).toEqual(['GET blobs', 'GET blobs', 'GET blobs'])
})

test('ranges that a registry refuses are not asked for again', async () => {
  await using fake = await fakeWithImage()
  fake.inject('/blobs/', faults.oddRange(faults.status(416)))
  await using client = new TestClient(fake)
  expect(await client.open(digest, { offset: 100 })).toMatchObject({ start: 0, size: bytes.length })
  expect((await client.pull(digest, { offset: 100 })).equals(bytes.subarray(100))).toBe(true)
  expect(asked(fake)).toEqual(['GET blobs range', 'GET blobs', 'GET blobs'])
  expect(client.warnings).toMatchObject([{ message: expect.stringContaining('no ranges') }])
})

test('a range that fails in a way that may pass is asked for again, until it has failed twice', async () => {
  await using fake = await fakeWithImage()
  fake.inject('/blobs/', faults.oddRange(faults.status(503)))
  let now = Date.now()
  const timing = { now: () => now, random: () => 0, sleep: () => Promise.resolve() }
  await using client = new TestClient(fake, { timing, upstream: { attempts: 4 } })
  for (let pull = 0; pull < 3; pull++) {
    await client.pull(digest, { offset: 100 })
    now += 60_000
  }
  const first = ['GET blobs range', 'GET blobs range', 'GET blobs']
  expect(asked(fake)).toEqual([...first, ...first, 'GET blobs'])
})

test('HEAD is not asked where it has denied what GET gives', async () => {
  await using fake = await fakeWithImage()
  fake.inject('HEAD ', faults.status(404))
  await using client = new TestClient(fake)
  for (let time = 0; time < 2; time++) {
    expect(await client.resolve('latest')).toMatchObject({ digest: digestOf(manifest), mediaType })
  }
  expect(await client.stat('blob', digest)).toMatchObject({ size: bytes.length })
  expect(asked(fake)).toEqual(['HEAD manifests', 'GET manifests', 'GET manifests', 'GET blobs'])
})

test('GET is asked again where HEAD says no after a minute, and for another asker', async () => {
  await using fake = await fakeWithImage()
  let now = Date.now()
  const timing = { now: () => now, random: () => 0, sleep: () => Promise.resolve() }
  await using client = new TestClient(fake, { timing })
  const missing = () => expect(client.resolve('missing')).rejects.toMatchObject({ code: 'not-found' })
  await missing()
  await missing()
  expect(asked(fake)).toEqual(['HEAD manifests', 'GET manifests', 'HEAD manifests'])
  now += 61_000
  await missing()
  await expect(client.resolve('missing', { authorization: basic('a:b') })).rejects.toMatchObject({ code: 'not-found' })
  expect(fake.seen('GET /v2/library')).toHaveLength(3)
})

test('a registry that wants to be left alone is not asked a second time', async () => {
  await using fake = await fakeWithImage()
  fake.inject('HEAD ', faults.rateLimit('60'))
  await using client = new TestClient(fake)
  await expect(client.resolve('latest')).rejects.toMatchObject({ code: 'rate-limited' })
  expect(asked(fake)).toEqual(['HEAD manifests'])
})

test.each([400, 401, 403])(
  'a token that is refused before its time, with a mere %i, is fetched anew',
  async (status) => {
    await using fake = await fakeWithImage()
    const tokens = fake.requireBearer({ accounts: { node: 'secret' } })
    await using client = new TestClient(fake, { registry: password })
    await client.pull(digest)
    tokens.revoke(status)
    expect((await client.pull(digest)).equals(bytes)).toBe(true)
    await client.pull(digest)
    expect(tokens.issued).toBe(2)
  },
)

test('who may not have something is told so, and the token service is left alone after one more try', async () => {
  await using fake = await fakeWithImage()
  const tokens = fake.requireBearer({ accounts: { node: 'secret' } })
  await using client = new TestClient(fake, { registry: password })
  await client.pull(digest)
  fake.inject('/blobs/', faults.status(403))
  for (let time = 0; time < 3; time++) await expect(client.open(digest)).rejects.toMatchObject({ code: 'denied' })
  expect(tokens.issued).toBe(2)
  expect(fake.seen('/blobs/')).toHaveLength(2 + 3 + 2)
})

test('where credentials open nothing after 404, they are not tried again for each question', async () => {
  await using fake = await fakeWithImage()
  await using client = new TestClient(fake, { registry: password })
  const missing = digestOf(Buffer.from('missing'))
  for (let time = 0; time < 3; time++) {
    await expect(client.open(missing)).rejects.toMatchObject({ code: 'not-found' })
  }
  // The second try is with the password, as nothing says how else; what was granted is sent from the start then.
  expect(asked(fake)).toEqual(['GET blobs', 'GET root', 'GET blobs', 'GET blobs', 'GET blobs'])
})

test('a registry that hides from the anonymous gets the credentials from the start, once that is known', async () => {
  await using fake = await fakeWithImage()
  fake.inject('/v2/library/', (answer, request) => {
    if (request.headers.authorization !== basic('node:secret')) faults.status(404)(answer, request)
  })
  await using client = new TestClient(fake, { registry: password })
  expect(await client.open(digest)).toMatchObject({ access: 'private' })
  await client.pull(digest)
  expect(asked(fake)).toEqual(['GET blobs', 'GET root', 'GET blobs', 'GET blobs'])
  // Another client's question is answered to that client.
  const authorization = basic('guest:wrong')
  await expect(client.open(digest, { authorization })).rejects.toMatchObject({ code: 'not-found' })
})

test('a layer that is slow does not make a registry one that is away', async () => {
  await using fake = await fakeWithImage()
  fake.inject('/blobs/', faults.hang())
  await using client = new TestClient(fake, { upstream: { responseTimeout: '2s', attempts: 1 } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable' })
  expect(client.upstream.isSilent(fake.host)).toBe(true)
  expect(await client.resolve('latest')).toMatchObject({ mediaType })
  expect(client.upstream.isSilent(fake.host)).toBe(false)
})

test('a registry that refuses connections is not asked in two ways', async () => {
  const fake = await fakeWithImage()
  await fake.close()
  await using client = new TestClient(fake, { upstream: { attempts: 1 } })
  await expect(client.resolve('latest')).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/refuses connections/),
  })
  // It is left alone from the first failure on.
  await expect(client.open(digest)).rejects.toMatchObject({
    message: expect.stringMatching(/asked again in the background/),
  })
})

test('a page for people in place of a range is not taken for the content', async () => {
  await using fake = await fakeWithImage()
  fake.inject('/blobs/', faults.oddRange(faults.html()))
  await using client = new TestClient(fake)
  expect((await client.pull(digest, { offset: 10 })).equals(bytes.subarray(10))).toBe(true)
})

test.each([
  ['503 twice', faults.status(503), 2],
  ['no answer once', faults.hang(), 2],
])('a moment in which HEAD gets %s teaches nothing', async (_what, fault, times) => {
  await using fake = await fakeWithImage()
  fake.inject('HEAD ', fault, times)
  await using client = new TestClient(fake)
  for (let time = 0; time < 3; time++) await client.resolve('latest')
  expect(asked(fake).slice(-2)).toEqual(['HEAD manifests', 'HEAD manifests'])
})

test('layers that are resumed in the same bad moment teach nothing of ranges', async () => {
  await using fake = await fakeWithImage()
  const other = fake.addBlob(randomBytes(300_000))
  fake.inject('/blobs/', faults.oddRange(faults.status(503)), 4)
  await using client = new TestClient(fake)
  await Promise.all([digest, other].map((one) => client.pull(one, { offset: 100 })))
  fake.heal()
  await client.pull(digest, { offset: 100 })
  expect(asked(fake).at(-1)).toBe('GET blobs range')
})

test('an encoded body that was damaged does not make the next one be taken for not encoded', async () => {
  await using fake = await fakeWithImage()
  let damaged = 1
  fake.inject('GET ', (answer, request) => {
    faults.encoded('gzip')(answer, request)
    if (damaged-- > 0) faults.corrupt(200)(answer, request)
  })
  const text = Buffer.from('many words '.repeat(20_000))
  const blob = fake.addBlob(text)
  await using client = new TestClient(fake)
  await client.pull(blob).catch(() => undefined)
  expect((await client.pull(blob)).equals(text)).toBe(true)
  fake.inject('HEAD ', faults.status(404))
  expect(await client.resolve('latest')).toMatchObject({ digest: digestOf(manifest) })
})

test('a registry that has not said how it asks for credentials is asked again', async () => {
  await using fake = await fakeWithImage()
  fake.requireBearer({ accounts: { node: 'secret' }, rootOnly: true, hidesAs: 404 })
  const { promise, resolve } = Promise.withResolvers<void>()
  fake.hold(/GET \/v2\/$/, promise)
  await using client = new TestClient(fake, { registry: password, upstream: { attempts: 1 } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable' })
  resolve()
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  expect(
    fake.requests.map(({ headers }) => headers.authorization).filter((one) => one?.startsWith('Basic')),
  ).toHaveLength(1)
})

test.each(['page', '404'])('what is hidden behind a %s is had again when the token has expired', async (kind) => {
  await using fake = await fakeWithImage()
  const challenge = `Bearer realm="${fake.url}/token",service="x"`
  fake.inject(/ \/v2\/$/, faults.status(401, { 'www-authenticate': challenge }))
  fake.inject(/ \/token$/, (answer) => {
    Object.assign(answer, {
      status: 200,
      headers: { 'content-type': 'application/json' },
      body: Buffer.from('{"token":"abc"}'),
    })
  })
  fake.inject('/blobs/', (answer, request) => {
    if (request.headers.authorization !== undefined) return
    const fault = kind === 'page' ? faults.html() : faults.status(404)
    fault(answer, request)
  })
  let now = Date.now()
  const timing = { now: () => now, random: () => 0, sleep: () => Promise.resolve() }
  await using client = new TestClient(fake, { registry: password, timing })
  // A token without a lifetime is used for 50 s.
  for (const passes of [0, 10_000, 42_000, 51_000, 51_000]) {
    now += passes
    expect((await client.pull(digest)).equals(bytes)).toBe(true)
    if (kind === '404') {
      const missing = digestOf(Buffer.from('missing'))
      await expect(client.open(missing)).rejects.toMatchObject({ code: 'not-found' })
    }
  }
})

test('a range that is not found once is asked for again', async () => {
  await using fake = await fakeWithImage()
  fake.inject('/blobs/', faults.oddRange(faults.status(404)), 1)
  await using client = new TestClient(fake)
  for (let time = 0; time < 2; time++) await client.pull(digest, { offset: 100 })
  expect(asked(fake)).toEqual(['GET blobs range', 'GET blobs', 'GET blobs range'])
})

test('a password that has opened nothing is not sent with questions for what is everybody’s', async () => {
  await using fake = await fakeWithImage()
  await using client = new TestClient(fake, { registry: password })
  await expect(client.open(digestOf(Buffer.from('missing')))).rejects.toMatchObject({ code: 'not-found' })
  expect(await client.open(digest)).toMatchObject({ access: 'public' })
  expect(fake.requests.at(-1)?.headers.authorization).toBeUndefined()
})

test('a redirect with a user that can not be read is followed without', async () => {
  await using fake = await fakeWithImage()
  const cdn = (await fake.cdn()).replace('//', '//us%er:pw@')
  fake.inject('/blobs/', (answer, { server, path }) => {
    if (server === 'registry')
      Object.assign(answer, { status: 307, headers: { location: `${cdn}${path}` }, body: Buffer.alloc(0) })
  })
  await using client = new TestClient(fake)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
})
