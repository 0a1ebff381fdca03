import { expect, test } from 'vitest'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'

const basic = (username: string, password: string) =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
const bytes = Buffer.from('the bytes of a layer')

async function fakeWithBlob() {
  const fake = await FakeUpstream.start()
  return { fake, digest: fake.addBlob(bytes) }
}

test('without authentication nothing but the blob is asked for, and it is public', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  expect(await client.open(digest)).toMatchObject({ access: 'public', size: bytes.length })
  expect(fake.requests.map(({ path }) => path)).toEqual([`/v2/library/app/blobs/${digest}`])
  expect(fake.requests[0]?.headers).toMatchObject({ 'user-agent': 'layerd/test', 'accept-encoding': 'identity' })
  expect(fake.requests[0]?.headers.authorization).toBeUndefined()
})

test('an anonymous token is fetched once for a repository, and what it opens is public', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer()
  await using client = new TestClient(fake)
  expect((await client.open(digest)).access).toBe('public')
  expect(await client.pull(digest)).toEqual(bytes)
  expect(tokens.issued).toBe(1)
  const [request] = fake.seen('/token')
  expect(Object.fromEntries(request?.query ?? [])).toEqual({
    service: 'fake',
    scope: 'repository:library/app:pull',
  })
})

test('the scope that the registry names is the one asked for', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer({ scope: 'repository:behind/app:pull' })
  await using client = new TestClient(fake)
  expect(await client.pull(digest)).toEqual(bytes)
})

test('fifty requests at once share one token', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer()
  await using client = new TestClient(fake)
  const pulled = await Promise.all(Array.from({ length: 50 }, () => client.pull(digest)))
  expect(pulled.every((one) => one.equals(bytes))).toBe(true)
  expect(tokens.issued).toBe(1)
})

test('configured credentials get the token, and what it opens is private', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer({ accounts: { node: 'secret' } })
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  expect((await client.open(digest)).access).toBe('private')
  expect(fake.seen('/token')[0]?.headers.authorization).toBe(basic('node', 'secret'))
})

test('a token that the registry no longer takes is fetched anew, once', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer()
  await using client = new TestClient(fake)
  await client.pull(digest)
  tokens.revoke()
  expect(await client.pull(digest)).toEqual(bytes)
  expect(tokens.issued).toBe(2)
})

test('a token that the registry no longer takes is not sent again when no other is had', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer()
  await using client = new TestClient(fake)
  await client.pull(digest)
  tokens.revoke()
  fake.inject('/token', faults.status(403))
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  expect(fake.seen('/blobs/').at(-1)?.headers.authorization).toBeUndefined()
})

test('a token that has expired is not sent', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer({ expiresIn: 60 })
  let now = Date.now()
  const timing = { now: () => now, random: () => 0, sleep: () => Promise.resolve() }
  await using client = new TestClient(fake, { timing })
  await client.pull(digest)
  now += 55_000
  await client.pull(digest)
  expect(tokens.issued).toBe(2)
  expect(fake.seen('/blobs/').map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    'Bearer token-1',
    undefined,
    'Bearer token-2',
  ])
})

test('a registry that takes no token is not asked for ever', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer()
  // The token is for another repository, so the registry does not take it.
  fake.inject('/token', (answer) => tokens.revoke() ?? answer)
  await using client = new TestClient(fake)
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unauthorized',
    challenge: expect.stringContaining('Bearer realm='),
  })
  expect(fake.seen('/blobs/')).toHaveLength(2)
})

test('a repository that wants credentials, and none are there', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer({ accounts: { somebody: 'secret' } })
  await using client = new TestClient(fake)
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unauthorized',
    challenge: `Bearer realm="${fake.url}/token",service="fake",scope="repository:library/app:pull"`,
  })
})

test('Basic is answered, then sent from the start, and what it opens is private', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBasic('node', 'secret')
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  expect((await client.open(digest)).access).toBe('private')
  await client.pull(digest)
  expect(fake.requests.map(({ headers }) => headers.authorization !== undefined)).toEqual([false, true, true])
})

test('a wrong password is tried once, and told without itself', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBasic('node', 'secret')
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'guessed' } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unauthorized',
    challenge: 'Basic realm="fake upstream"',
    message: expect.not.stringContaining('guessed'),
  })
  expect(fake.requests).toHaveLength(2)
})

test("a client's Basic is used in place of the node's, for the token and for Basic", async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer({ accounts: { guest: 'own' } })
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  const authorization = basic('guest', 'own')
  expect((await client.open(digest, { authorization })).access).toBe('private')
  expect(fake.seen('/token')[0]?.headers.authorization).toBe(authorization)
  fake.requireBasic('guest', 'own')
  expect(await client.pull(digest, { authorization })).toEqual(bytes)
})

test('what one client was granted is not used for another', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer({ accounts: { guest: 'own', node: 'secret' } })
  await using client = new TestClient(fake)
  const guest = { authorization: basic('guest', 'own') }
  await client.pull(digest, guest)
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'unauthorized' })
  const impostor = { authorization: basic('guest', 'wrong') }
  await expect(client.open(digest, impostor)).rejects.toMatchObject({ code: 'unauthorized' })
  await client.pull(digest, guest)
  expect(tokens.issued).toBe(1)
})

test("a client's Bearer is passed on as it is, and a refusal with upstream's challenge", async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const tokens = fake.requireBearer()
  await using client = new TestClient(fake)
  await client.pull(digest)
  expect((await client.open(digest, { authorization: 'Bearer token-1' })).access).toBe('private')
  await expect(client.open(digest, { authorization: 'Bearer forged' })).rejects.toMatchObject({
    code: 'unauthorized',
    challenge: expect.stringContaining(`${fake.url}/token`),
  })
  expect(tokens.issued).toBe(1)
})

test('a foreign realm is refused, and nothing is sent to it', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  // The same machine under another name: a foreign host as far as names go.
  fake.requireBearer({ realm: fake.url.replace('127.0.0.1', 'localhost').concat('/token') })
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'refused',
    message: expect.stringMatching(/authRealms/),
  })
  expect(fake.seen('/token')).toHaveLength(0)
})

test('a foreign realm that is configured is asked', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const realm = `${await fake.cdn()}/token`.replace('127.0.0.1', 'localhost')
  fake.requireBearer({ realm })
  await using client = new TestClient(fake, { registry: { authRealms: [realm] } })
  expect(await client.pull(digest)).toEqual(bytes)
})

test('a token service that is busy is asked again', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer()
  fake.inject('/token', faults.status(503), 1)
  await using client = new TestClient(fake)
  expect(await client.pull(digest)).toEqual(bytes)
})

test('a token service that hangs is not waited for without end', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer()
  fake.inject('/token', faults.hang())
  await using client = new TestClient(fake, { upstream: { attempts: 1 } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringContaining('token service'),
  })
})

test('a token service that answers with HTML gives no token', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer()
  fake.inject('/token', faults.html())
  await using client = new TestClient(fake)
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'broken' })
  expect(fake.seen('/token')).toHaveLength(1)
})

test('a token service that has moved on its host is followed, with the credentials', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  const realm = `${await fake.cdn()}/token`
  fake.requireBearer({ realm, accounts: { node: 'secret' } })
  fake.inject('/token', (answer, request) => {
    if (request.server !== 'cdn') return
    const location = `${fake.url}/token?${request.query}`
    Object.assign(answer, { status: 307, headers: { location }, body: Buffer.alloc(0) })
  })
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  expect(await client.pull(digest)).toEqual(bytes)
  expect(fake.seen('/token').map(({ server }) => server)).toEqual(['cdn', 'registry'])
})

test('a token service that redirects to a foreign host, and one that redirects for ever, is not followed', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer({ accounts: { node: 'secret' } })
  fake.inject('/token', faults.redirect(fake.url.replace('127.0.0.1', 'localhost')), 1)
  await using client = new TestClient(fake, { registry: { username: 'node', password: 'secret' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'refused' })
  expect(fake.seen('/token')).toHaveLength(1)
  fake.inject('/token', faults.redirect(fake.url))
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'broken' })
  expect(fake.seen('/token')).toHaveLength(12)
})

test('a client that gives up does not take the token from the others', async () => {
  const { fake, digest } = await fakeWithBlob()
  await using _ = fake
  fake.requireBearer()
  fake.inject('/token', faults.slow(500))
  await using client = new TestClient(fake)
  const caller = new AbortController()
  const first = client.open(digest, { signal: caller.signal })
  await fake.waitForRequest('/token')
  const second = client.pull(digest)
  caller.abort()
  await expect(first).rejects.toMatchObject({ code: 'aborted' })
  expect(await second).toEqual(bytes)
  expect(fake.seen('/token')).toHaveLength(1)
})
