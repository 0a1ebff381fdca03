import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { until } from '../fixtures/node.ts'

const bytes = randomBytes(300_000)
const digest = digestOf(bytes)

async function fakeWithBlob(): Promise<FakeUpstream> {
  const fake = await FakeUpstream.start()
  fake.addBlob(bytes)
  return fake
}

test('a redirect to a host that is gone does not mean that the registry is', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.redirect(`http://127.0.0.1:${await closedPort()}`))
  await using client = new TestClient(fake)
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'broken' })
  fake.heal()
  expect(await client.stat('blob', digest)).toMatchObject({ size: bytes.length })
})

test('nobody waits for a registry that is gone: it is asked in the background, and by requests when it is back', async () => {
  const port = await closedPort()
  const host = `127.0.0.1:${port}`
  await using client = new TestClient({ url: `http://${host}`, host }, { upstream: { offlineFor: '200ms' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable', message: /refuses/ })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable', message: /in the background/ })
  await using fake = await FakeUpstream.start({ port })
  fake.addBlob(bytes)
  await fake.waitForRequest('/v2/')
  await until(() =>
    client.stat('blob', digest).then(
      ({ size }) => size === bytes.length,
      () => false,
    ),
  )
  expect(fake.seen('GET /v2/').map(({ headers }) => headers['user-agent'])).toEqual([
    expect.stringMatching(/^layerd\//),
  ])
})

test('a registry that takes the question whether it is back, and does not answer it, is asked by requests', async () => {
  const port = await closedPort()
  const host = `127.0.0.1:${port}`
  await using client = new TestClient({ url: `http://${host}`, host }, { upstream: { offlineFor: '200ms' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable' })
  await using fake = await FakeUpstream.start({ port })
  fake.addBlob(bytes)
  fake.inject(/^GET \/v2\/$/, faults.hang())
  await until(() =>
    client.stat('blob', digest).then(
      ({ size }) => size === bytes.length,
      () => false,
    ),
  )
})

test('a registry that is gone is asked at once when the network changes', async () => {
  const port = await closedPort()
  const host = `127.0.0.1:${port}`
  await using client = new TestClient({ url: `http://${host}`, host }, { upstream: { offlineFor: '10m' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable' })
  await using fake = await FakeUpstream.start({ port })
  fake.addBlob(bytes)
  client.upstream.networkChanged()
  await until(() =>
    client.stat('blob', digest).then(
      ({ size }) => size === bytes.length,
      () => false,
    ),
  )
})

test('a registry that cuts off all that is asked of it is left alone', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.reset())
  const timing = { now: Date.now, random: () => 0, sleep: () => Promise.resolve() }
  await using client = new TestClient(fake, { timing, upstream: { attempts: 3, offlineFor: '10m' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable' })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unreachable' })
  expect(fake.requests).toHaveLength(3)
})

test('a request that hangs while others are answered does not stop the others', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.hang(), 1)
  await using client = new TestClient(fake, { upstream: { attempts: 1 } })
  const hanging = client.open(digest)
  hanging.catch(() => undefined)
  await fake.waitForRequest('/blobs/')
  await client.pull(digest)
  await expect(hanging).rejects.toMatchObject({ code: 'unreachable' })
  expect((await client.pull(digest)).equals(bytes)).toBe(true)
})

test('a name that does not resolve is told as such', async () => {
  const client = new TestClient(
    { url: 'http://registry.invalid', host: 'registry.invalid' },
    { upstream: { attempts: 1 } },
  )
  await using _ = client
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/DNS/),
  })
})

test('something else than HTTP is told as such', async () => {
  const server = createServer((socket) => socket.on('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n')))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  const client = new TestClient({ url: `http://127.0.0.1:${port}`, host: `127.0.0.1:${port}` })
  await using _ = client
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'broken', message: expect.stringMatching(/HTTP/) })
  server.close()
})

test.each([
  ['before the answer', faults.hang()],
  ['within the body', faults.hangAfter(1_000)],
])('a caller that gives up %s ends the connection', async (_what, fault) => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', fault)
  await using client = new TestClient(fake, { upstream: { responseTimeout: '5m', idleTimeout: '5m' } })
  const caller = new AbortController()
  const pulling = client.open(digest, { signal: caller.signal }).then(async ({ body }) => {
    for await (const _ of body) caller.abort()
  })
  await fake.waitForRequest('/blobs/')
  caller.abort()
  await expect(pulling).rejects.toMatchObject({ code: 'aborted' })
  await fake.waitForSockets(0)
})

test('a caller that stops reading ends the connection', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.hangAfter(200_000))
  await using client = new TestClient(fake, { upstream: { idleTimeout: '5m' } })
  for await (const chunk of (await client.open(digest)).body) if (chunk.length > 0) break
  await fake.waitForSockets(0)
})

test('close ends what is under way', async () => {
  await using fake = await fakeWithBlob()
  fake.inject('/blobs/', faults.hang())
  await using client = new TestClient(fake, { upstream: { responseTimeout: '5m' } })
  const opening = client.open(digest)
  opening.catch(() => undefined)
  await fake.waitForRequest('/blobs/')
  await client.upstream.close()
  await expect(opening).rejects.toMatchObject({ code: 'aborted' })
  await fake.waitForSockets(0)
})

async function closedPort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
