import { readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { codeOf, digestsOf, localhost, RegistryClient, testImage, withDigest } from '../fixtures/registry-client.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const MiB = 2 ** 20
const image = testImage([pseudoRandomBytes(300_000, 'a'), pseudoRandomBytes(700_000, 'b')])

async function setUp(config: Record<string, object> = {}) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const dataDir = await tempDir()
  const registries = { 'docker.io': upstream.url }
  const start = () => startTestNode({ dataDir, registries, config })
  return { upstream, dataDir, start, node: await start() }
}

/** A client may have got all of a blob before it is one of the store. */
const untilHeld = (node: TestNode, blobs: number) => until(async () => (await node.status()).store.blobs >= blobs)

const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })

describe('the name of what is pushed', () => {
  it('is local in each way of addressing, and nobody else is asked for it', async () => {
    const { node, upstream } = await setUp()
    await new RegistryClient(node.url, 'app').push(image, '1')
    const { port } = new URL(node.url)
    const mirror = { host: `127.0.0.1:${port}` }
    // Docker and skopeo, by name; podman with a mirror of that name; each at the other address, too.
    for (const [name, headers] of [
      ['app', localhost(node.url)],
      ['app', mirror],
      ['localhost/app', mirror],
      [`localhost:${port}/app`, mirror],
    ] as const) {
      expect(await new RegistryClient(node.url, name, headers).pull(image, '1'), name).toEqual(digestsOf(image))
    }
    // containerd with a mirror for all registries.
    for (const ns of ['localhost', `localhost:${port}`, `127.0.0.1:${port}`]) {
      const got = await ask(node.url, `/v2/app/manifests/1?ns=${ns}`)
      expect([got.status, got.headers['docker-content-digest'], got.headers['oci-namespace']]).toEqual([
        200,
        image.digest,
        'localhost',
      ])
    }
    expect(upstream.requests).toEqual([])
  })

  it('says whose it is also in the addresses that a push goes on at', async () => {
    const { node } = await setUp()
    const begun = await ask(node.url, '/v2/app/blobs/uploads/?ns=localhost', { method: 'POST' })
    expect(begun.headers.location).toMatch(/^\/v2\/app\/blobs\/uploads\/[-0-9a-f]+\?ns=localhost$/)
    const blob = image.blobs[0] ?? Buffer.alloc(0)
    const put = await ask(node.url, withDigest(begun.headers.location ?? '', digestOf(blob)), {
      method: 'PUT',
      body: blob,
    })
    expect(put).toMatchObject({ status: 201, headers: { location: `/v2/app/blobs/${digestOf(blob)}?ns=localhost` } })
  })

  it('is not what mirrors are asked for: library/ stays docker.io', async () => {
    const { node, upstream } = await setUp()
    const theirs = upstream.addManifest({ schemaVersion: 2, layers: [] })
    upstream.tag('library/alpine', 'latest', theirs)
    for (const host of ['localhost', '127.0.0.1']) {
      const headers = { host: `${host}:${new URL(node.url).port}` }
      const refused = await new RegistryClient(node.url, 'library/alpine', headers).send('POST', 'blobs/uploads/')
      expect([refused.status, codeOf(refused)]).toEqual([403, 'DENIED'])
    }
    const ours = new RegistryClient(node.url, 'localhost/library/alpine')
    await ours.push(image, 'latest')
    expect(await ours.pull(image, 'latest')).toEqual(digestsOf(image))
    for (const headers of [{}, localhost(node.url)]) {
      const got = await ask(node.url, '/v2/library/alpine/manifests/latest', { headers })
      expect(got.headers['docker-content-digest']).toBe(theirs)
    }
  })

  it('is not one of which this node holds what docker.io has', async () => {
    const { node, upstream } = await setUp()
    const theirs = upstream.addManifest({ schemaVersion: 2, layers: [] })
    upstream.tag('team/app', 'latest', theirs)
    expect((await ask(node.url, '/v2/team/app/manifests/latest')).status).toBe(200)
    await untilHeld(node, 1)
    const refused = await new RegistryClient(node.url, 'team/app').send('POST', 'blobs/uploads/')
    expect([refused.status, codeOf(refused)]).toEqual([403, 'DENIED'])
    await new RegistryClient(node.url, 'localhost/team/app').push(image, 'latest')
    const got = await ask(node.url, '/v2/team/app/manifests/latest', { headers: localhost(node.url) })
    expect(got.headers['docker-content-digest']).toBe(theirs)
  })

  it('of an upstream registry is refused', async () => {
    const { node } = await setUp()
    for (const path of ['/v2/docker.io/me/app/blobs/uploads/', '/v2/me/app/blobs/uploads/?ns=docker.io']) {
      const refused = await ask(node.url, path, { method: 'POST' })
      expect([refused.status, codeOf(refused), refused.headers.allow]).toEqual([405, 'UNSUPPORTED', 'GET, HEAD'])
    }
  })

  it('can be chosen', async () => {
    const { node } = await setUp({ registry: { localName: 'registry.team' } })
    await new RegistryClient(node.url, 'registry.team/app').push(image, '1')
    const got = await ask(node.url, '/v2/app/manifests/1?ns=registry.team')
    expect(got.headers['docker-content-digest']).toBe(image.digest)
  })

  it.each(['unreachable', 'refused', 'silent'])(
    'is new while docker.io is %s: a push begins with what is not there',
    async (how) => {
      const { node, upstream } = await setUp({ upstream: { responseTimeout: '1s' } })
      if (how === 'refused') upstream.requireBearer({ accounts: { somebody: 'else' } })
      else if (how === 'silent') upstream.inject(/./, faults.hang())
      else await upstream.close()
      const client = new RegistryClient(node.url, 'team/new', { host: new URL(node.url).host })
      for (const path of [`blobs/${digestOf(image.blobs[0] ?? image.manifest)}`, `manifests/${image.digest}`])
        expect((await client.send('HEAD', path)).status).toBe(404)
      // Nobody is asked for what a push may leave out.
      expect(upstream.requests).toEqual([])
      expect((await client.send('HEAD', 'manifests/1')).status).toBe(404)
      if (how !== 'unreachable') return
      expect((await client.send('GET', 'manifests/1')).status).toBe(503)
      expect((await client.send('GET', 'tags/list')).status).toBe(404)
      const referrers = await client.send('GET', `referrers/${image.digest}`)
      expect([referrers.status, JSON.parse(referrers.body.toString()).manifests]).toEqual([200, []])
    },
  )

  describe('that docker.io has, too', () => {
    const base = image.blobs[1] ?? Buffer.alloc(0)
    const onBase = testImage([base, pseudoRandomBytes(5_000, 'on base')])

    /** A node at which docker.io's `library/alpine:1` and `team/app:1` are the image, and the first of them is cached. */
    async function setUpTheirs() {
      const { node, upstream } = await setUp()
      for (const blob of image.blobs) upstream.addBlob(blob)
      for (const repository of ['library/alpine', 'team/app'])
        upstream.tag(repository, '1', upstream.addManifest(image.manifest))
      const mirror = new RegistryClient(node.url, 'library/alpine')
      expect(await mirror.pull(image, '1')).toEqual(digestsOf(image))
      await untilHeld(node, 1 + image.blobs.length)
      return { node, upstream }
    }

    /** Pushes as clients do: what HEAD says is there is left out. @param asked for the manifest, by HEAD, before and after the blobs */
    async function pushLacking(client: RegistryClient, pushed: typeof image, tag: string, asked: 'tag' | 'digest') {
      const isThere = async () => {
        const head = await client.send('HEAD', `manifests/${asked === 'tag' ? tag : pushed.digest}`)
        expect([200, 404]).toContain(head.status)
        return head.headers['docker-content-digest'] === pushed.digest
      }
      if (asked === 'digest' && (await isThere())) return
      for (const blob of pushed.blobs) {
        const { status } = await client.send('HEAD', `blobs/${digestOf(blob)}`)
        expect([200, 404]).toContain(status)
        if (status === 404) expect((await client.pushBlob(blob)).status).toBe(201)
      }
      if (await isThere()) return
      expect((await client.putManifest(tag, pushed.manifest)).status).toBe(201)
    }

    describe.each(['localhost', '127.0.0.1'])('at %s', (host) => {
      it.each([
        ['alpine', 'digest'],
        ['alpine', 'tag'],
        ['team/app', 'digest'],
        ['team/app', 'tag'],
      ] as const)('%s is pushed whole, and as a base, with HEAD by %s', async (name, asked) => {
        const { node, upstream } = await setUpTheirs()
        const client = new RegistryClient(node.url, name, { host: `${host}:${new URL(node.url).port}` })
        await pushLacking(client, image, '1', asked)
        await pushLacking(client, onBase, '2', asked)
        await upstream.close()
        expect(await client.pull(image, '1')).toEqual(digestsOf(image))
        expect(await client.pull(onBase, '2')).toEqual(digestsOf(onBase))
        expect((await node.status()).store.keptBytes).toBe(
          [...image.blobs, image.manifest, ...onBase.blobs.filter((blob) => blob !== base), onBase.manifest].reduce(
            (sum, { length }) => sum + length,
            0,
          ),
        )
      })
    })

    it('is theirs for mirrors until it has a manifest here, whatever a push that was given up has left', async () => {
      const { node } = await setUpTheirs()
      const client = new RegistryClient(node.url, 'team/app', { host: new URL(node.url).host })
      await client.begin()
      const own = pseudoRandomBytes(100, 'given up')
      expect((await client.pushBlob(own)).status).toBe(201)
      expect((await client.send('GET', `blobs/${digestOf(own)}`)).status).toBe(200)
      expect(await client.pull(image, '1')).toEqual(digestsOf(image))
    })

    it('is told of at localhost by where it is to be had', async () => {
      const { node } = await setUpTheirs()
      const got = await new RegistryClient(node.url, 'team/app').send('GET', 'manifests/1')
      expect([got.status, codeOf(got)]).toEqual([404, 'MANIFEST_UNKNOWN'])
      expect(got.body.toString()).toContain('127.0.0.1')
    })
  })

  it('stays local when all is deleted, at each address, as far as nobody else has it', async () => {
    const { node, upstream } = await setUp()
    await upstream.close()
    const client = new RegistryClient(node.url, 'team/app', { host: new URL(node.url).host })
    await client.push(image, '1')
    expect((await client.send('DELETE', `manifests/${image.digest}`)).status).toBe(202)
    for (const path of ['manifests/1', `manifests/${image.digest}`])
      for (const method of ['GET', 'HEAD']) expect((await client.send(method, path)).status).toBe(404)
    const list = await client.send('GET', 'tags/list')
    expect([list.status, JSON.parse(list.body.toString()).tags]).toEqual([200, []])
  })

  it('with a registry before it is found by the name of the local registry, and listed by it', async () => {
    const { node } = await setUp()
    const refused = await new RegistryClient(node.url, 'my.app/web').send('POST', 'blobs/uploads/')
    const whole = `localhost:${new URL(node.url).port}/localhost/my.app/web`
    expect([refused.status, codeOf(refused)]).toEqual([404, 'NAME_UNKNOWN'])
    expect(refused.body.toString()).toContain(whole)
    const client = new RegistryClient(node.url, 'localhost/my.app/web')
    await client.push(image, '1')
    expect(await client.pull(image, '1')).toEqual(digestsOf(image))
    const { repositories } = JSON.parse((await ask(node.url, '/v2/_catalog')).body.toString())
    expect(repositories).toEqual(['localhost/my.app/web'])
  })

  it('is refused where it is local by its whole name only: what was pushed there could not be pulled', async () => {
    const { node, upstream } = await setUp({ store: { maxSize: '16 MiB' } })
    const layer = upstream.addBlob(pseudoRandomBytes(MiB, 'theirs'))
    expect((await ask(node.url, `/v2/team/app/blobs/${layer}`)).complete).toBe(true)
    await untilHeld(node, 1)
    await new RegistryClient(node.url, 'localhost/team/app').push(image, '1')
    // What docker.io has is evicted.
    for (let index = 0; (await node.status()).store.evictedBlobs === 0; index++) {
      const more = upstream.addBlob(pseudoRandomBytes(6 * MiB, index))
      expect((await ask(node.url, `/v2/library/x/blobs/${more}`)).complete).toBe(true)
    }
    const refused = await new RegistryClient(node.url, 'team/app').send('POST', 'blobs/uploads/')
    expect([refused.status, codeOf(refused)]).toEqual([403, 'DENIED'])
  })
})

it('takes nothing where that is set', async () => {
  const { node } = await setUp({ registry: { push: 'never' } })
  const client = new RegistryClient(node.url, 'app')
  for (const [method, path] of [
    ['POST', 'blobs/uploads/'],
    ['PUT', 'manifests/1'],
    ['DELETE', 'manifests/1'],
    ['DELETE', `blobs/${image.digest}`],
    ['PATCH', 'blobs/uploads/x'],
  ] as const) {
    const refused = await client.send(method, path)
    // distribution-spec 1.1, "Content Management": where deletion is disabled, the answer is 400 or 405.
    const expected = method === 'DELETE' ? [405, 'UNSUPPORTED', 'GET, HEAD'] : [403, 'DENIED', undefined]
    expect([refused.status, codeOf(refused), refused.headers.allow], method).toEqual(expected)
  }
})

it('takes nothing from somebody for whom a proxy of this machine asks', async () => {
  const { node } = await setUp()
  const client = new RegistryClient(node.url, 'app')
  const refused = await client.send('POST', 'blobs/uploads/', undefined, { 'x-forwarded-for': '192.0.2.1' })
  expect([refused.status, codeOf(refused)]).toEqual([403, 'DENIED'])
})

it('has nothing of its own where it asks for a login: any password would do', async () => {
  const { node } = await setUp({ registry: { loginListen: '127.0.0.1:0' } })
  await new RegistryClient(node.url, 'team/app').push(image, '1')
  const login = `http://${node.addresses.login}`
  const { port } = new URL(login)
  const get = (path: string, host = '127.0.0.1') =>
    ask(login, path, { headers: { ...basic('any:body'), host: `${host}:${port}` } })
  for (const host of ['127.0.0.1', 'localhost']) {
    for (const name of ['team/app', 'localhost/team/app', `localhost:${port}/team/app`]) {
      for (const reference of ['1', image.digest])
        expect((await get(`/v2/${name}/manifests/${reference}`, host)).status, name).toBe(404)
      expect((await get(`/v2/${name}/blobs/${digestsOf(image)[1]}`, host)).status).toBe(404)
      expect((await get(`/v2/${name}/tags/list`, host)).body.toString()).not.toContain('"tags"')
    }
    expect((await get('/v2/team/app/manifests/1?ns=localhost', host)).status).toBe(404)
    expect((await get('/v2/_catalog', host)).status).toBe(404)
  }
})

it.each([
  ['/v2/app/manifests/1', 'DELETE, GET, HEAD, PUT'],
  [`/v2/app/blobs/${image.digest}`, 'DELETE, GET, HEAD'],
  ['/v2/app/blobs/uploads/', 'POST'],
  ['/v2/app/blobs/uploads/x', 'DELETE, GET, HEAD, PATCH, PUT'],
  ['/v2/app/tags/list', 'GET, HEAD'],
])('says which methods %s has', async (path, allowed) => {
  const { node } = await setUp()
  const refused = await ask(node.url, path, { method: 'OPTIONS' })
  expect([refused.status, codeOf(refused), refused.headers.allow]).toEqual([405, 'UNSUPPORTED', allowed])
})

it('asks for a body with 100 Continue only where it takes it', async () => {
  const { node } = await setUp()
  const { hostname, port } = new URL(node.url)
  const put = async (path: string) => {
    const headers = { ...localhost(node.url), expect: '100-continue', 'content-length': image.manifest.length }
    const outgoing = request({ hostname, port, path, method: 'PUT', headers, agent: false })
    const answer = Promise.withResolvers<{ status: number | undefined; connection: string | undefined }>()
    let isInvited = false
    outgoing.on('continue', () => {
      isInvited = true
      outgoing.end(image.manifest)
    })
    outgoing.on('response', (incoming) => {
      incoming.resume()
      answer.resolve({ status: incoming.statusCode, connection: incoming.headers.connection })
    })
    outgoing.on('error', answer.reject)
    outgoing.flushHeaders()
    const { status, connection } = await answer.promise
    outgoing.destroy()
    return { status, connection, isInvited }
  }
  const client = new RegistryClient(node.url, 'app')
  for (const blob of image.blobs) await client.pushBlob(blob)
  expect(await put('/v2/library/app/manifests/1')).toEqual({ status: 403, connection: 'close', isInvited: false })
  expect(await put('/v2/app/manifests/1')).toMatchObject({ status: 201, isInvited: true })
})

describe('a restart', () => {
  it('loses nothing that was acknowledged, and an upload goes on', async () => {
    const { node, start } = await setUp()
    const client = new RegistryClient(node.url, 'team/app')
    await client.push(image, '1')
    const subject = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: image.digest,
      size: image.manifest.length,
    }
    const sbom = testImage([], { subject })
    await client.push(sbom, 'sbom')
    const blob = pseudoRandomBytes(1_000_000, 'upload')
    const [location, empty] = [await client.begin(), await client.begin()]
    expect((await client.at('PATCH', location, blob.subarray(0, 600_000))).status).toBe(202)
    await node.stop()
    const again = await start()
    const after = new RegistryClient(again.url, 'team/app')
    expect(await after.pull(image, '1')).toEqual(digestsOf(image))
    const referrers = await after.send('GET', `referrers/${image.digest}`)
    expect(JSON.parse(referrers.body.toString()).manifests).toMatchObject([{ digest: sbom.digest }])
    expect(await after.at('GET', location)).toMatchObject({ status: 204, headers: { range: '0-599999' } })
    const rest = { 'content-range': '600000-999999' }
    expect((await after.finish(location, digestOf(blob), blob.subarray(600_000), rest)).status).toBe(201)
    expect((await after.send('GET', `blobs/${digestOf(blob)}`)).body.equals(blob)).toBe(true)
    const small = pseudoRandomBytes(10, 'small')
    expect((await after.finish(empty, digestOf(small), small)).status).toBe(201)
    await after.send('DELETE', 'manifests/1')
    await again.stop()
    const last = new RegistryClient((await start()).url, 'team/app')
    expect((await last.send('GET', 'manifests/1')).status).toBe(404)
    expect((await last.send('GET', `manifests/${image.digest}`)).status).toBe(200)
  })

  it('loses no names with the database, when its folder was removed under the running node', async () => {
    const { node, start, dataDir } = await setUp()
    await new RegistryClient(node.url, 'app').push(image, '1')
    await rm(join(dataDir, 'meta'), { recursive: true })
    await until(
      async () => (await readdir(join(dataDir, 'meta')).catch((): string[] => [])).includes('CURRENT'),
      60_000,
    )
    await until(async () =>
      (await new RegistryClient(node.url, 'app').pull(image, '1')).every((it) => it !== undefined),
    )
    await node.stop()
    expect(await new RegistryClient((await start()).url, 'app').pull(image, '1')).toEqual(digestsOf(image))
  })
})

describe('a client that goes away', () => {
  /** Sends the beginning of a body of which more was promised, and waits until it has arrived. */
  async function sendPart(node: TestNode, location: string, part: Uint8Array, length: number) {
    const { hostname, port } = new URL(node.url)
    const headers = { ...localhost(node.url), 'content-length': length }
    const outgoing = request({ hostname, port, path: location, method: 'PATCH', headers, agent: false })
    outgoing.on('error', () => {})
    await new Promise<void>((resolve) => outgoing.write(part, () => resolve()))
    return outgoing
  }

  it('finds what has arrived, and sends the rest', async () => {
    const { node } = await setUp()
    const client = new RegistryClient(node.url, 'app')
    const blob = pseudoRandomBytes(3 * MiB, 'cut')
    const location = await client.begin()
    const outgoing = await sendPart(node, location, blob.subarray(0, 2 * MiB), blob.length)
    outgoing.destroy()
    const arrived = async () => Number((await client.at('GET', location)).headers.range?.slice(2)) + 1
    await until(async () => (await arrived()) > 1)
    // What is on its way when the connection is cut may be lost, or come a little later: then the chunk is out of order.
    await until(async () => {
      const start = await arrived()
      expect(start).toBeLessThanOrEqual(2 * MiB)
      const chunk = { 'content-range': `${start}-${blob.length - 1}` }
      const { status } = await client.at('PATCH', location, blob.subarray(start), chunk)
      expect([202, 416]).toContain(status)
      return status === 202
    })
    expect((await client.finish(location, digestOf(blob))).status).toBe(201)
  })

  it('and comes back while its old connection seems alive, goes on after a few seconds', async () => {
    const { node } = await setUp()
    const client = new RegistryClient(node.url, 'app')
    const blob = pseudoRandomBytes(300_000, 'half open')
    const location = await client.begin()
    const outgoing = await sendPart(node, location, blob.subarray(0, 100_000), blob.length)
    const cut = new Promise((resolve) => outgoing.once('close', resolve))
    const first = await client.at('PATCH', location, Buffer.alloc(1), { 'content-range': '299999-299999' })
    expect([first.status, first.headers.range]).toEqual([416, '0-99999'])
    await cut
    const rest = { 'content-range': '100000-299999' }
    expect((await client.finish(location, digestOf(blob), blob.subarray(100_000), rest)).status).toBe(201)
  })
})

it('two pushes of one tag at once: both are taken, and the tag is one of them, whole', async () => {
  const { node } = await setUp()
  const client = new RegistryClient(node.url, 'app')
  const images = Array.from({ length: 6 }, (_, index) => testImage([pseudoRandomBytes(100_000, index)]))
  await Promise.all(images.map((one) => client.push(one, 'latest')))
  const { headers } = await client.send('HEAD', 'manifests/latest')
  const winner = images.find(({ digest }) => digest === headers['docker-content-digest'])
  expect(winner && (await client.pull(winner, 'latest'))).toEqual(winner && digestsOf(winner))
  for (const one of images) expect(await client.pull(one, one.digest)).toEqual(digestsOf(one))
})

describe('room', () => {
  it('is never made by taking what was pushed; a push without room is refused, and nothing is lost', async () => {
    const { node, upstream } = await setUp({ store: { maxSize: '16 MiB' } })
    const client = new RegistryClient(node.url, 'app')
    const pushed = testImage([pseudoRandomBytes(6 * MiB, 'pushed')])
    await client.push(pushed, '1')
    const layers = Array.from({ length: 6 }, (_, index) => upstream.addBlob(pseudoRandomBytes(4 * MiB, index)))
    for (const layer of layers) expect((await ask(node.url, `/v2/library/x/blobs/${layer}`)).complete).toBe(true)
    expect(await client.pull(pushed, '1')).toEqual(digestsOf(pushed))
    expect((await node.status()).store.evictedBlobs).toBeGreaterThan(0)
    // What is cached gives way to a push.
    const second = testImage([pseudoRandomBytes(8 * MiB, 'second')])
    await client.push(second, '2')
    const third = pseudoRandomBytes(4 * MiB, 'third')
    for (const location of [await client.begin(), await client.begin()]) {
      const refused = await client.at('PATCH', location, third)
      expect([refused.status, codeOf(refused)]).toEqual([403, 'DENIED'])
      expect(refused.body.toString()).toMatch(
        /images that were pushed here: delete some of them, or raise store.maxSize/,
      )
    }
    expect(await client.pull(pushed, '1')).toEqual(digestsOf(pushed))
    expect(await client.pull(second, '2')).toEqual(digestsOf(second))
    // A mirror goes on without keeping.
    const more = upstream.addBlob(pseudoRandomBytes(5 * MiB, 'more'))
    expect((await ask(node.url, `/v2/library/x/blobs/${more}`)).complete).toBe(true)
    for (const digest of digestsOf(second).slice(1)) await client.send('DELETE', `blobs/${digest}`)
    expect((await client.pushBlob(third)).status).toBe(201)
  })

  it('is taken by uploads, and given back by those that are cancelled', async () => {
    const { node } = await setUp({ store: { maxSize: '16 MiB' } })
    const client = new RegistryClient(node.url, 'app')
    const [location, other] = [await client.begin(), await client.begin()]
    const half = pseudoRandomBytes(9 * MiB, 'half')
    expect((await client.at('PATCH', location, half)).status).toBe(202)
    expect((await client.at('PATCH', other, half)).status).toBe(403)
    expect((await client.at('DELETE', location)).status).toBe(204)
    expect((await client.finish(other, digestOf(half), half)).status).toBe(201)
  })
})

describe('what is of an upstream registry as well', () => {
  it('stays cached when it is deleted here, and no longer', async () => {
    const { node, upstream } = await setUp()
    const layer = pseudoRandomBytes(500_000, 'both')
    const digest = upstream.addBlob(layer)
    const pull = async () => (await ask(node.url, `/v2/library/x/blobs/${digest}`)).complete
    expect(await pull()).toBe(true)
    await untilHeld(node, 1)
    const client = new RegistryClient(node.url, 'app')
    await client.pushBlob(layer)
    expect((await node.status()).store.keptBytes).toBe(layer.length)
    await client.send('DELETE', `blobs/${digest}`)
    expect((await client.send('GET', `blobs/${digest}`)).status).toBe(404)
    const { keptBytes, bytes } = (await node.status()).store
    expect([keptBytes, bytes]).toEqual([0, layer.length])
    const before = upstream.requests.length
    expect(await pull()).toBe(true)
    expect(upstream.requests.length).toBe(before)
    // What is nobody else's goes.
    const own = pseudoRandomBytes(1_000, 'own')
    await client.pushBlob(own)
    await client.send('DELETE', `blobs/${digestOf(own)}`)
    expect((await node.status()).store.bytes).toBe(layer.length)
  })

  it('is mounted from the cache, for those who may have it there', async () => {
    const { node, upstream } = await setUp()
    const open = upstream.addBlob(pseudoRandomBytes(1_000, 'open'))
    expect((await ask(node.url, `/v2/library/x/blobs/${open}`)).complete).toBe(true)
    await untilHeld(node, 1)
    upstream.requireBearer({ accounts: { me: 'right' } })
    const secret = upstream.addBlob(pseudoRandomBytes(1_000, 'secret'))
    const path = `/v2/docker.io/me/secret/blobs/${secret}`
    expect((await ask(node.url, path, { headers: basic('me:right') })).complete).toBe(true)
    await untilHeld(node, 2)
    const client = new RegistryClient(node.url, 'app')
    const mount = async (query: string, headers = {}) =>
      (await client.send('POST', `blobs/uploads/?mount=${query}`, undefined, headers)).status
    expect(await mount(`${open}&from=docker.io/library/x`)).toBe(201)
    expect((await client.send('DELETE', `blobs/${open}`)).status).toBe(202)
    expect(await mount(open)).toBe(201)
    expect(await mount(secret)).toBe(202)
    expect(await mount(`${secret}&from=docker.io/me/secret`)).toBe(202)
    expect(await mount(`${secret}&from=docker.io/me/secret`, basic('me:wrong'))).toBe(202)
    expect((await client.send('GET', `blobs/${secret}`)).status).toBe(404)
    expect(await mount(`${secret}&from=docker.io/me/secret`, basic('me:right'))).toBe(201)
    expect((await client.send('GET', `blobs/${secret}`)).status).toBe(200)
  })

  it('is mounted with the credentials of the node for those alone whom they are lent', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    upstream.requireBasic('node', 'own')
    const secret = upstream.addBlob(pseudoRandomBytes(1_000, 'secret'))
    const auths = { [new URL(upstream.url).host]: { auth: Buffer.from('node:own').toString('base64') } }
    const dockerConfig = join(await tempDir(), 'config.json')
    await writeFile(dockerConfig, JSON.stringify({ auths }))
    const registries = { 'private.example': upstream.url }
    const node = await startTestNode({
      registries,
      config: { registry: { push: 'always' }, upstream: { dockerConfig } },
    })
    expect((await ask(node.url, `/v2/private.example/me/app/blobs/${secret}`)).complete).toBe(true)
    await untilHeld(node, 1)
    const client = new RegistryClient(node.url, 'app')
    const mount = (headers: Record<string, string>) =>
      client.send('POST', `blobs/uploads/?mount=${secret}&from=private.example/me/app`, undefined, headers)
    expect((await mount({ 'x-forwarded-for': '192.0.2.1' })).status).toBe(202)
    expect((await client.send('GET', `blobs/${secret}`)).status).toBe(404)
    expect((await mount({})).status).toBe(201)
  })
})

it('is nobody else’s where it is not offered: neither peers nor who asks for it elsewhere get it', async () => {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const options = {
    registries: { 'docker.io': upstream.url },
    isClosed: true,
    config: { registry: { offerPushes: 'never' } },
  }
  const a = await startTestNode(options)
  const b = await startTestNode({ ...options, seeds: [a] })
  await untilConnected(a, b)
  await new RegistryClient(a.url, 'app').push(image, '1')
  for (const node of [a, b]) {
    for (const digest of digestsOf(image).slice(1)) {
      expect((await ask(node.url, `/v2/library/other/blobs/${digest}`)).status).toBe(404)
    }
  }
  expect((await new RegistryClient(b.url, 'app').send('GET', 'manifests/1')).status).toBe(404)
  // What upstream has as well is given as what was pulled.
  const shared = image.blobs[1] ?? Buffer.alloc(0)
  upstream.addBlob(shared)
  expect((await ask(a.url, `/v2/library/other/blobs/${digestOf(shared)}`)).status).toBe(200)
  await until(async () => (await a.status()).provided === 1)
})

it('is taken back from peers when it is deleted', async () => {
  const a = await startTestNode({ isClosed: true })
  await new RegistryClient(a.url, 'app').push(image, '1')
  const layer = image.blobs[1] ?? Buffer.alloc(0)
  const provided = async () => (await a.status()).provided
  await until(async () => (await provided()) === 4)
  await new RegistryClient(a.url, 'app').send('DELETE', `manifests/${image.digest}`)
  await new RegistryClient(a.url, 'app').send('DELETE', `blobs/${digestOf(layer)}`)
  await until(async () => (await provided()) === 2)
})

it('what the disk has lost is unknown, and can be pushed again', async () => {
  const { node, dataDir } = await setUp()
  const client = new RegistryClient(node.url, 'app')
  await client.push(image, '1')
  const lost = digestsOf(image)[2] as Digest
  await truncate(join(dataDir, 'blobs', 'sha256', lost.slice('sha256:'.length)), 10)
  expect((await client.send('GET', `blobs/${lost}`)).status).toBe(404)
  expect((await client.send('HEAD', `blobs/${lost}`)).status).toBe(404)
  await client.push(image, '1')
  expect(await client.pull(image, '1')).toEqual(digestsOf(image))
})
