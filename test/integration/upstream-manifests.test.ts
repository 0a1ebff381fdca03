import { expect, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { collect, TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'

const mediaType = 'application/vnd.oci.image.manifest.v1+json'
const manifest = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers: [] }))
const digest = digestOf(manifest)
const right = { digest, mediaType, size: manifest.length, access: 'public' }

async function fakeWithTag(): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start()
  fake.addManifest(manifest, mediaType)
  fake.tag('library/app', 'latest', digest)
  return fake
}

test.each(['latest', digest])('HEAD is enough for %s', async (reference) => {
  await using fake = await fakeWithTag()
  await using client = new TestClient(fake)
  expect(await client.resolve(reference)).toEqual(right)
  expect(fake.requests.map(({ method }) => method)).toEqual(['HEAD'])
  expect(fake.requests[0]?.headers.accept?.split(', ')).toEqual(
    expect.arrayContaining([mediaType, 'application/vnd.docker.distribution.manifest.list.v2+json', '*/*']),
  )
})

test.each([
  ['HEAD is not allowed', faults.noHead()],
  ['HEAD is not known', faults.noHead(501)],
  ['the digest is not said', faults.noDigest()],
  ['the digest said is none', faults.headers({ 'docker-content-digest': 'sha256:latest' })],
  ['the length is not said', faults.chunked()],
  ['HEAD says that it is empty', headLength(0)],
])('GET is asked where %s', async (_what, fault) => {
  await using fake = await fakeWithTag()
  fake.inject('/manifests/', fault)
  await using client = new TestClient(fake)
  const { bytes, ...found } = await client.resolve('latest')
  expect(found).toEqual(right)
  expect(bytes).toEqual(manifest)
  expect(fake.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET'])
})

function headLength(length: number): faults.Fault {
  return (answer, { method }) => {
    if (method === 'HEAD') answer.length = length
  }
}

test('bytes that do not have the digest that came with them are not taken', async () => {
  await using fake = await fakeWithTag()
  fake.inject('/manifests/', faults.noHead())
  fake.inject('/manifests/', faults.corrupt())
  await using client = new TestClient(fake)
  await expect(client.resolve('latest')).rejects.toMatchObject({ code: 'broken' })
  await expect(client.resolve(digest)).rejects.toMatchObject({ code: 'broken' })
})

test.each([
  ['a missing tag', faults.status(404), 'not-found'],
  ['a repository that one may not read', faults.status(403), 'denied'],
])('%s is asked for by GET as well, once in a while', async (_what, fault, code) => {
  await using fake = await fakeWithTag()
  fake.inject('/manifests/', fault)
  await using client = new TestClient(fake, { upstream: { attempts: 2 } })
  await expect(client.resolve('latest')).rejects.toMatchObject({
    code,
    message: expect.stringContaining('library/app:latest'),
  })
  await expect(client.resolve('other')).rejects.toMatchObject({ code })
  expect(fake.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET', 'HEAD'])
})

test('a page for people in place of a manifest', async () => {
  await using fake = await fakeWithTag()
  fake.inject('/manifests/', faults.html())
  await using client = new TestClient(fake, { upstream: { attempts: 2 } })
  await expect(client.resolve('latest')).rejects.toMatchObject({ code: 'broken' })
  expect(fake.requests.map(({ method }) => method)).toEqual(['HEAD', 'GET', 'GET'])
})

test('a registry that is not configured is not asked', async () => {
  await using fake = await fakeWithTag()
  await using client = new TestClient(fake)
  const repository = { registry: 'elsewhere.example', name: 'app' }
  const { signal } = new AbortController()
  await expect(client.upstream.resolveManifest({ repository, reference: 'latest', signal })).rejects.toMatchObject({
    code: 'not-found',
    message: expect.stringContaining('elsewhere.example'),
  })
})

test('a manifest by digest has its bytes and its type', async () => {
  await using fake = await fakeWithTag()
  await using client = new TestClient(fake)
  const { repository } = client
  const { signal } = new AbortController()
  const opened = await client.upstream.open({ repository, kind: 'manifest', digest, offset: 0, signal })
  expect(opened).toMatchObject({ size: manifest.length, mediaType, access: 'public' })
  expect(await collect(opened)).toEqual(manifest)
})

test.each([
  ['announced', [], 'has 16777217 bytes'],
  ['not announced', [faults.chunked()], 'has more bytes than that'],
])('a manifest that is too long and %s is not read', async (_what, injected, length) => {
  await using fake = await fakeWithTag()
  const large = fake.addManifest(Buffer.alloc(16 * 1024 * 1024 + 1, ' '))
  for (const fault of injected) fake.inject('/manifests/', fault)
  await using client = new TestClient(fake)
  const { repository } = client
  const { signal } = new AbortController()
  const reading = client.upstream.open({ repository, kind: 'manifest', digest: large, offset: 0, signal }).then(collect)
  const message = expect.stringContaining(`a manifest may have 16777216 bytes (16 MiB) here, and this one ${length}`)
  await expect(reading).rejects.toMatchObject({ code: 'broken', message })
})

test('the size of a blob is known by HEAD', async () => {
  await using fake = await FakeUpstream.start()
  const blob = fake.addBlob(Buffer.alloc(1_000))
  await using client = new TestClient(fake)
  expect(await client.stat('blob', blob)).toMatchObject({ digest: blob, size: 1_000, access: 'public' })
  expect(fake.requests.map(({ method }) => method)).toEqual(['HEAD'])
})

test.each([
  ['HEAD is not allowed', faults.noHead()],
  ['a URL is signed for GET', headRefusedElsewhere],
])('the size of a blob is known where %s', async (_what, fault) => {
  await using fake = await FakeUpstream.start()
  const blob = fake.addBlob(Buffer.alloc(1_000))
  const cdn = await fake.cdn()
  fake.inject('/blobs/', (answer, request) => fault(answer, request, cdn))
  await using client = new TestClient(fake)
  expect(await client.stat('blob', blob)).toMatchObject({ size: 1_000 })
})

function headRefusedElsewhere(...[answer, request, cdn]: [...Parameters<faults.Fault>, string]): void {
  if (request.server === 'registry') faults.redirect(cdn)(answer, request)
  else faults.noHead(403)(answer, request)
}

test('HTML that is the content asked for is content', async () => {
  await using fake = await FakeUpstream.start()
  const page = fake.addBlob(Buffer.from('<html></html>'))
  fake.inject('/blobs/', faults.headers({ 'content-type': 'text/html' }))
  await using client = new TestClient(fake, { upstream: { attempts: 1 } })
  expect((await client.pull(page)).toString()).toBe('<html></html>')
  fake.inject('/blobs/', faults.noDigest())
  expect((await client.pull(page)).toString()).toBe('<html></html>')
})

test('tags are listed as upstream lists them', async () => {
  await using fake = await fakeWithTag()
  for (const tag of ['a', 'b', 'c']) fake.tag('library/app', tag, digest)
  await using client = new TestClient(fake)
  const listed = await client.list('tags/list', { n: '2' })
  expect(JSON.parse(Buffer.from(listed.body).toString())).toEqual({ name: 'library/app', tags: ['a', 'b'] })
  expect(listed).toMatchObject({
    status: 200,
    access: 'public',
    headers: { 'content-type': 'application/json', link: '</v2/library/app/tags/list?n=2&last=b>; rel="next"' },
  })
})

test('referrers are listed as upstream lists them, and a 404 is passed on', async () => {
  await using fake = await fakeWithTag()
  const signature = fake.addManifest({ schemaVersion: 2, mediaType, subject: { digest } })
  await using client = new TestClient(fake)
  const { status, body } = await client.list(`referrers/${digest}`)
  expect(status).toBe(200)
  expect(JSON.parse(Buffer.from(body).toString()).manifests).toMatchObject([{ digest: signature, mediaType }])
  fake.inject('/referrers/', faults.status(404))
  expect(await client.list(`referrers/${digest}`)).toMatchObject({ status: 404 })
})

test.each([
  ['too long', faults.headers({}), 'broken'],
  ['cut off', faults.truncate(1_000), 'broken'],
  ['denied', faults.status(403), 'denied'],
])('a list that is %s', async (_what, fault, code) => {
  await using fake = await fakeWithTag()
  fake.inject('/tags/', (answer, request) => {
    answer.body = Buffer.alloc(9 * 1024 * 1024)
    fault(answer, request)
  })
  await using client = new TestClient(fake)
  await expect(client.list('tags/list')).rejects.toMatchObject({ code })
})
