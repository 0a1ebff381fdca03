import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { ask } from '../fixtures/client.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { selfSigned as tls } from '../fixtures/fake-upstream/tls.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { until } from '../fixtures/node.ts'
import { spawnNode } from '../fixtures/process.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const bytes = Buffer.from('the bytes of a layer')

let folder: string
let ca: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'layerd-tls-'))
  ca = join(folder, 'ca.pem')
  await writeFile(ca, tls.cert)
})

afterAll(() => rm(folder, { recursive: true, force: true }))

test.each([
  ['a configured CA', () => ({ ca })],
  ['insecure', () => ({ insecure: true })],
])('a certificate of its own is taken with %s', async (_what, registry) => {
  await using fake = await FakeUpstream.start({ tls })
  await using client = new TestClient(fake, { registry: registry() })
  expect(await client.pull(fake.addBlob(bytes))).toEqual(bytes)
})

test('an authority of the machine is trusted by a node, as by other programs', async () => {
  await using fake = await FakeUpstream.start({ tls })
  const blob = fake.addBlob(bytes)
  const args = ['--registry', `docker.io=${fake.url}`]
  const node = await spawnNode(await tempDir(), args, ['env', `SSL_CERT_FILE=${ca}`])
  expect((await ask(node.url, `/v2/library/app/blobs/${blob}`)).body).toEqual(bytes)
})

test('an authority of the machine is trusted where the registry was away when the node began', async () => {
  const gone = await FakeUpstream.start({ tls })
  const port = Number(new URL(gone.url).port)
  await gone.close()
  const args = ['--registry', `docker.io=${gone.url}`]
  const env = ['env', `SSL_CERT_FILE=${ca}`, 'LAYERD_UPSTREAM_OFFLINE_FOR=200ms']
  const node = await spawnNode(await tempDir(), args, env)
  expect((await ask(node.url, `/v2/library/app/blobs/${digestOf(bytes)}`)).status).toBe(503)
  await using fake = await FakeUpstream.start({ tls, port })
  const blob = fake.addBlob(bytes)
  await until(async () => (await ask(node.url, `/v2/library/app/blobs/${blob}`)).status === 200)
})

test('a certificate that nobody vouches for is refused, once, with what to do', async () => {
  await using fake = await FakeUpstream.start({ tls })
  await using client = new TestClient(fake)
  await expect(client.open(fake.addBlob(bytes))).rejects.toMatchObject({
    code: 'unreachable',
    message: expect.stringMatching(/certificate.*"ca"/),
  })
  expect(fake.requests).toHaveLength(0)
})

test('a redirect that gives up encryption is not followed', async () => {
  await using fake = await FakeUpstream.start({ tls })
  const digest = fake.addBlob(bytes)
  fake.inject('/blobs/', faults.redirect(await fake.cdn()))
  await using client = new TestClient(fake, { registry: { ca } })
  await expect(client.open(digest)).rejects.toMatchObject({
    code: 'broken',
    message: expect.stringMatching(/encryption/),
  })
  expect(fake.requests.filter(({ server }) => server === 'cdn')).toHaveLength(0)
})

test('a token service without encryption gets nothing', async () => {
  await using fake = await FakeUpstream.start({ tls })
  const digest = fake.addBlob(bytes)
  fake.requireBearer({ realm: `${await fake.cdn()}/token` })
  await using client = new TestClient(fake, { registry: { ca, username: 'node', password: 'secret' } })
  await expect(client.open(digest)).rejects.toMatchObject({ code: 'refused' })
  expect(fake.seen('/token')).toHaveLength(0)
})

test('a CA file that is not there is told at once', () => {
  const make = () =>
    new TestClient({ url: 'https://127.0.0.1:1', host: '127.0.0.1:1' }, { registry: { ca: '/absent.pem' } })
  expect(make).toThrow(/127\.0\.0\.1:1.*\/absent\.pem/)
})
