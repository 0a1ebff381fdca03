import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, until } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const layer = pseudoRandomBytes(100_000)
const encoded = (text: string) => Buffer.from(text).toString('base64')
const basic = (text: string) => ({ authorization: `Basic ${encoded(text)}` })
/** What podman and skopeo send where their user gave nothing. */
const nobody: [string, Record<string, string>][] = [
  ['no Authorization', {}],
  ['Basic without a name and password', basic(':')],
  ['Basic without a name', basic(':right')],
  ['Basic without anything', { authorization: 'basic' }],
]

/** A registry where "user" and the node itself may read, and a node with an address that asks for a login. */
async function setUp() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.requireBearer({ accounts: { user: 'right', node: 'own' } })
  const blob = upstream.addBlob(layer)
  const manifest = upstream.addManifest({ schemaVersion: 2, layers: [{ digest: blob }] })
  upstream.tag('me/app', 'latest', manifest)
  const dockerConfig = join(await tempDir(), 'config.json')
  await writeFile(dockerConfig, JSON.stringify({ auths: { [upstream.host]: { auth: encoded('node:own') } } }))
  const node = await startTestNode({
    registries: { 'private.example': upstream.url },
    config: { registry: { loginListen: '127.0.0.1:0' }, upstream: { dockerConfig } },
  })
  const login = `http://${node.addresses.login}`
  const paths = [
    '/v2/private.example/me/app/manifests/latest',
    `/v2/private.example/me/app/manifests/${manifest}`,
    `/v2/private.example/me/app/blobs/${blob}`,
    '/v2/private.example/me/app/tags/list',
    `/v2/private.example/me/app/referrers/${manifest}`,
  ]
  return { upstream, node, login, blob, paths, blobPath: `/v2/private.example/me/app/blobs/${blob}` }
}

describe('the address that asks for a login', () => {
  it('is told to operators beside the ordinary one, and ends with the node', async () => {
    const { node, login } = await setUp()
    const { login: address, registry } = node.addresses
    expect(await node.status()).toMatchObject({ registry, login: address })
    expect(node.log.find(({ msg }) => msg === 'ready')).toMatchObject({ registry, login: address })
    expect(registry).not.toBe(address)
    await node.stop()
    await expect(ask(login, '/v2/')).rejects.toThrow('ECONNREFUSED')
  })

  it.each(nobody)('answers 401 with a challenge to %s, and asks nobody', async (_what, headers) => {
    const { upstream, login, paths } = await setUp()
    for (const path of ['/v2/', '/v2', ...paths]) {
      const got = await ask(login, path, { headers })
      expect(got).toMatchObject({
        status: 401,
        headers: {
          'www-authenticate': 'Basic realm="layerd"',
          'docker-distribution-api-version': 'registry/2.0',
          'content-type': expect.stringMatching(/^application\/json/),
        },
      })
      expect(JSON.parse(got.body.toString()).errors).toMatchObject([{ code: 'UNAUTHORIZED' }])
      expect(await ask(login, path, { headers, method: 'HEAD' })).toMatchObject({ status: 401 })
    }
    expect(upstream.requests).toEqual([])
  })

  it('passes what a client gives on to the registry that the request names', async () => {
    const { upstream, node, login, paths } = await setUp()
    const headers = basic('user:right')
    expect(await ask(login, '/v2/', { headers })).toMatchObject({ status: 200 })
    for (const path of paths) expect((await ask(login, path, { headers })).status, path).toBe(200)
    const spoken = new Set(upstream.seen('/token').map((request) => request.headers.authorization))
    expect(spoken).toEqual(new Set([undefined, headers.authorization]))
    expect(JSON.stringify(node.log)).not.toContain(encoded('user:right'))
  })

  it('lets registries refuse what they do not know, also what is in the store', async () => {
    const { node, login, paths, blobPath } = await setUp()
    expect(digestOf((await ask(login, blobPath, { headers: basic('user:right') })).body)).toBe(digestOf(layer))
    await until(async () => (await node.status()).store.blobs === 1)
    for (const path of paths) {
      const got = await ask(login, path, { headers: basic('user:wrong') })
      expect(got, path).toMatchObject({
        status: 401,
        headers: { 'www-authenticate': expect.stringMatching(/^Bearer/) },
      })
    }
  })

  it('knows nobody whom only the credentials of the node would let in', async () => {
    const { upstream, node, login, blobPath } = await setUp()
    expect(await ask(node.url, blobPath)).toMatchObject({ status: 200 })
    await until(async () => (await node.status()).store.blobs === 1)
    const before = upstream.requests.length
    expect(await ask(login, blobPath)).toMatchObject({ status: 401 })
    expect(upstream.requests).toHaveLength(before)
    await upstream.close()
    expect(await ask(login, blobPath, { headers: basic('user:wrong') })).toMatchObject({ status: 503 })
  })

  it('is a mirror for pulling as the other one', async () => {
    const { login } = await setUp()
    const headers = basic('user:right')
    expect(await ask(login, '/v2/me/app/manifests/x', { headers, method: 'PUT' })).toMatchObject({ status: 405 })
    expect(await ask(login, '/', {})).toMatchObject({ status: 404 })
    const long = { authorization: `Bearer ${'x'.repeat(20_000)}` }
    expect(await ask(login, '/v2/', { headers: long })).toMatchObject({ status: 431 })
  })
})

it.each(nobody)('elsewhere, %s speaks for the node', async (_what, headers) => {
  const { upstream, node, blobPath } = await setUp()
  expect(await ask(node.url, '/v2/', { headers })).toMatchObject({ status: 200 })
  expect(await ask(node.url, blobPath, { headers })).toMatchObject({ status: 200, complete: true })
  expect(upstream.seen('/token').at(0)?.headers.authorization).toBe(basic('node:own').authorization)
})
