import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { signatureSecret } from '../fixtures/fake-upstream/faults.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'

const bytes = randomBytes(300_000)
const digest = digestOf(bytes)

async function fakeWithBlob(): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start()
  fake.addBlob(bytes)
  return fake
}

const passing: readonly [what: string, fault: faults.Fault, times: number, requests: number][] = [
  ['503', faults.status(503), 2, 3],
  ['500', faults.status(500), 1, 2],
  ['429 with Retry-After in seconds', faults.rateLimit('0'), 1, 2],
  ['429 with a date that has passed', faults.rateLimit('Thu, 01 Jan 2026 00:00:00 GMT'), 1, 2],
  ['429 that says no time', faults.rateLimit(), 1, 2],
  ['a connection that is closed before any answer', faults.reset(), 1, 2],
  ['headers that do not come', faults.hang(), 1, 2],
  ['an HTML page', faults.html(), 1, 2],
  ['a body that is cut off', faults.truncate(100_000), 1, 2],
  ['a body that is cut off at its start', faults.truncate(0), 1, 2],
  ['a body that is cut off three times', faults.truncate(70_000), 3, 4],
  ['a body that stands still', faults.hangAfter(100_000), 1, 2],
  ['a body that is cut off without an announced length', faults.all(faults.chunked(), faults.truncate(100_000)), 1, 2],
  ['a server that ignores ranges', faults.all(faults.ignoreRange(), faults.truncate(100_000)), 1, 2],
  ['no length', faults.chunked(), 1, 1],
]

test.each(passing)('%s passes', async (_what, fault, times, requests) => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', fault, times)
  await using client = new TestClient(fake)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  expect(fake.seen('/blobs/')).toHaveLength(requests)
})

test('a transfer that broke is gone on with where it broke', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.truncate(100_000), 1)
  await using client = new TestClient(fake)
  await client.pull(digest)
  const [first, second] = fake.seen('/blobs/')
  expect(first?.headers.range).toBeUndefined()
  expect(second?.headers.range).toMatch(/^bytes=\d+-$/)
  expect(Number(/\d+/.exec(second?.headers.range ?? '')?.[0])).toBeGreaterThan(0)
})

test('a server that ignores ranges for a resumed transfer is read from the start, and the rest given', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.truncate(100_000), 1)
  fake.inject('/blobs/', faults.ignoreRange())
  await using client = new TestClient(fake)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
})

test('a body that is longer than announced ends where it was to end, and nothing of it gets into the next', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.wrongLength(-10), 1)
  await using client = new TestClient(fake)
  expect((await client.pull(digest)).equals(bytes.subarray(0, -10))).toBe(true)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
})

test('content from an offset on', async () => {
  await using fake = await fakeWithBlob()
  await using client = new TestClient(fake)
  expect((await client.pull(digest, { offset: 123_456 })).equals(bytes.subarray(123_456))).toBe(true)
  expect(await client.open(digest, { offset: 123_456 })).toMatchObject({ size: bytes.length })
  expect(fake.requests[0]?.headers.range).toBe('bytes=123456-')
  fake.inject('/blobs/', faults.ignoreRange())
  expect((await client.pull(digest, { offset: 123_456 })).equals(bytes.subarray(123_456))).toBe(true)
})

test('a server that gives less than the range asked for is asked for the rest', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', (answer, { headers }) => {
    const start = Number(/\d+/.exec(headers.range ?? '')?.[0])
    const part = bytes.subarray(start, start + 80_000)
    const range = `bytes ${start}-${start + part.length - 1}/${bytes.length}`
    Object.assign(answer, { status: 206, body: part, headers: { 'content-range': range } })
  })
  await using client = new TestClient(fake, { upstream: { attempts: 5 } })
  expect((await client.pull(digest, { offset: 1 })).equals(bytes.subarray(1))).toBe(true)
  expect(fake.requests).toHaveLength(4)
})

test('content from its end on is nothing, and from beyond it an error', async () => {
  await using fake = await fakeWithBlob()
  await using client = new TestClient(fake)
  expect(await client.pull(digest, { offset: bytes.length })).toHaveLength(0)
  await expect(client.pull(digest, { offset: bytes.length + 1 })).rejects.toMatchObject({ code: 'broken' })
})

const lasting: readonly [what: string, fault: faults.Fault, code: string, requests: number][] = [
  ['404', faults.status(404), 'not-found', 1],
  ['403', faults.status(403), 'denied', 1],
  ['400', faults.status(400), 'broken', 1],
  ['503', faults.status(503), 'broken', 3],
  ['429', faults.rateLimit('0'), 'rate-limited', 3],
  ['429 for a minute', faults.rateLimit('60'), 'rate-limited', 1],
  ['HTML', faults.html(), 'broken', 3],
  ['nothing at all', faults.hang(), 'unreachable', 3],
  ['closed connections', faults.reset(), 'unreachable', 3],
  ['204', faults.status(204), 'broken', 3],
  ['a redirect without an address', faults.status(307), 'broken', 1],
  ['a redirect to another protocol', faults.status(307, { location: 'file:///etc/passwd' }), 'broken', 1],
]

test.each(lasting)('%s that lasts is told', async (_what, fault, code, requests) => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', fault)
  await using client = new TestClient(fake, { upstream: { attempts: 3, responseTimeout: '1s' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code, message: expect.stringContaining(fake.host) })
  expect(fake.seen('/blobs/')).toHaveLength(requests)
})

test.each([
  ['cut off', faults.truncate(10_000)],
  ['cut off at its start', faults.truncate(0)],
  ['standing still', faults.hangAfter(10_000)],
  ['shorter than announced', faults.wrongLength(10)],
])('a body that is %s each time is given up', async (_what, fault) => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', fault)
  await using client = new TestClient(fake, { upstream: { attempts: 3, idleTimeout: '1s' } })
  await expect(client.pull(digest)).rejects.toMatchObject({ code: 'broken' })
  expect(fake.seen('/blobs/').length).toBeLessThanOrEqual(3)
})

test('wrong ranges and sizes are not mixed with what was received', async () => {
  await using fake = await fakeWithBlob()
  await using client = new TestClient(fake, { upstream: { attempts: 2 } })
  fake.inject('/blobs/', faults.truncate(100_000), 1)
  fake.inject('/blobs/', faults.headers({ 'content-range': `bytes 5-${bytes.length - 1}/${bytes.length}` }))
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  fake.heal()
  await using another = new TestClient(fake, { upstream: { attempts: 2 } })
  fake.inject('/blobs/', faults.truncate(100_000), 1)
  fake.inject('/blobs/', (answer, { headers }) => {
    if (headers.range !== undefined) answer.body = Buffer.concat([bytes, bytes])
  })
  await expect(another.pull(digest)).rejects.toMatchObject({
    code: 'broken',
    message: expect.stringContaining('600000'),
  })
})

test('a slow transfer that does not stand still is waited for', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.slow(75_000))
  await using client = new TestClient(fake, { upstream: { idleTimeout: '2s' } })
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  expect(fake.requests).toHaveLength(1)
})

test('a redirect is followed without Authorization, and a resumed transfer begins at the registry again', async () => {
  await using fake = await fakeWithBlob()
  fake.requireBearer()
  const cdn = await fake.cdn()
  fake.inject(/GET .*\/blobs\//, (answer, request) => {
    if (request.server === 'registry') faults.redirect(cdn)(answer, request)
    else if (request.headers.range === undefined) faults.truncate(100_000)(answer, request)
  })
  await using client = new TestClient(fake)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  const atCdn = fake.requests.filter(({ server }) => server === 'cdn')
  expect(atCdn).toHaveLength(2)
  expect(atCdn.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
  expect(fake.seen('/blobs/').map(({ server }) => server)).toEqual(['registry', 'registry', 'cdn', 'registry', 'cdn'])
})

test('a signed URL that was refused is asked for again, and never told', async () => {
  await using fake = await fakeWithBlob()
  const cdn = await fake.cdn()
  let refusals = 1
  fake.inject('/blobs/', (answer, request) => {
    if (request.server === 'registry') faults.redirect(cdn)(answer, request)
    else if (refusals-- > 0) faults.status(403)(answer, request)
  })
  await using client = new TestClient(fake)
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
  refusals = Number.POSITIVE_INFINITY
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'broken',
    message: expect.not.stringContaining(signatureSecret),
  })
})

test("upstream's own words are told, without secrets and in one line", async () => {
  await using fake = await fakeWithBlob()
  const message = `ask\n${fake.url}/plan?key=hidden1 with Bearer hidden2 or basic aGlkZGVuMw== ${'x'.repeat(1_000)}`
  fake.inject('/blobs/', (answer) => {
    answer.status = 403
    answer.headers = { 'content-type': 'application/json' }
    answer.body = Buffer.from(JSON.stringify({ errors: [{ code: 'DENIED', message }] }))
  })
  await using client = new TestClient(fake)
  const failure = await client.open(digest).catch((error: Error) => error)
  expect(failure).toMatchObject({
    code: 'denied',
    message: expect.stringContaining(`DENIED: ask ${fake.url}/plan with`),
  })
  expect(String((failure as Error).message)).not.toMatch(/hidden|aGlkZGVu|\n|x{300}/)
})

test('redirects that go round are ended', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.redirect(fake.url))
  await using client = new TestClient(fake)
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'broken' })
  expect(fake.requests).toHaveLength(11)
})

test('a reader that is slow is waited for, without time-out, and without the body piling up meanwhile', async () => {
  const large = randomBytes(48_000_000)
  await using fake = await FakeUpstream.start()
  const largeDigest = fake.addBlob(large)
  await using client = new TestClient(fake, { upstream: { idleTimeout: '1s' } })
  let received = 0
  let pauses = 2
  for await (const chunk of (await client.open(largeDigest)).body) {
    received += chunk.length
    // Nothing can be waited for here: the point is that time passes.
    if (pauses-- > 0) await new Promise((resolve) => setTimeout(resolve, 1_500))
    if (pauses === 0) expect(fake.bytesSent).toBeLessThan(large.length / 2)
  }
  expect(received).toBe(large.length)
  expect(fake.requests).toHaveLength(1)
})
