import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { quarterBytes as chunkBytes } from '../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { atEnd } from '../fixtures/at-end.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until, untilConnected } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

// Registries that do something odd, and from which containerd or skopeo pull all the same. A row for each report: what the
// registry does, and which kind of client gets the image from it. Each is pulled cold, with a part on disk that an earlier
// pull has left, and through a second node whose only source is the first one.

const mediaType = 'application/vnd.oci.image.manifest.v1+json'
const layer = pseudoRandomBytes(6 * chunkBytes + 7, 'odd')
const config = Buffer.from('{"architecture":"amd64","os":"linux"}')
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`

interface Image {
  readonly manifest: Digest
  readonly layer: Digest
  readonly config: Digest
}

/** What is set up around one pull. */
interface Scene {
  readonly upstream: FakeUpstream
  readonly image: Image
}

interface Row {
  readonly what: string
  /** Makes upstream odd. @returns options of the registry, where it needs some */
  readonly odd: (scene: Scene) => object | undefined | Promise<object | undefined> | void | Promise<void>
  /** Headers of the client's requests. */
  readonly headers?: Record<string, string>
  /** A client that asks for tags by HEAD alone fails here directly, too. */
  readonly getOnly?: true
  /** What is pulled is not everybody's, and does not leave the node in an open swarm. */
  readonly isPrivate?: true
}

/** The second half of a body that was cut is asked for in vain. */
const cutOnce = ({ upstream }: Scene, range: faults.Fault) => {
  upstream.inject('/blobs/', faults.oddRange(range))
  upstream.inject(/GET .*\/blobs\//, faults.truncate(3 * chunkBytes + 11), 1)
}

const head =
  (fault: faults.Fault): faults.Fault =>
  (answer, request) => {
    if (request.method === 'HEAD') fault(answer, request)
  }

/** Lets in whoever has the password, and tells all others something else than 401. */
function hides(upstream: FakeUpstream, status: number): void {
  upstream.inject('/v2/library/', (answer, request) => {
    if (request.headers.authorization !== basic('user:secret')) faults.status(status)(answer, request)
  })
  upstream.inject(/ \/v2\/$/, (answer, request) => {
    faults.status(401, { 'www-authenticate': 'Basic realm="private"' })(answer, request)
  })
}

const withPassword = { username: 'user', password: 'secret' }

const rows: readonly Row[] = [
  ...[400, 401, 403, 404, 416, 429, 500, 501].map(
    (status): Row => ({
      what: `cuts a body and answers the range for its rest with ${status}`,
      odd: (scene) => cutOnce(scene, faults.status(status)),
    }),
  ),
  {
    what: 'cuts a body and closes the connection on the range for its rest',
    odd: (scene) => cutOnce(scene, faults.reset()),
  },
  {
    what: 'cuts a body and does not answer the range for its rest',
    odd: (scene) => cutOnce(scene, faults.hang()),
  },
  {
    what: 'closes the connection every 300 kB',
    odd: ({ upstream }) => upstream.inject(/GET .*\/blobs\//, faults.truncate(300_000)),
  },
  {
    what: 'gives 300 kB of any range',
    odd: ({ upstream }) =>
      upstream.inject(/GET .*\/blobs\//, (answer, request) => {
        const start = Number(/\d+/.exec(request.headers.range ?? '')?.[0])
        if (request.headers.range === undefined || start >= answer.body.length) return
        const end = Math.min(start + 300_000, answer.body.length) - 1
        answer.headers['content-range'] = `bytes ${start}-${end}/${answer.body.length}`
        Object.assign(answer, { status: 206, body: answer.body.subarray(start, end + 1) })
      }),
  },
  {
    what: 'answers a range with 206 without Content-Range',
    odd: (scene) =>
      cutOnce(
        scene,
        faults.contentRange(() => undefined),
      ),
  },
  {
    what: 'answers a range with a Content-Range without its unit',
    odd: (scene) =>
      cutOnce(
        scene,
        faults.contentRange((start, end, size) => `${start}-${end}/${size}`),
      ),
  },
  {
    what: 'answers a range with another one',
    odd: (scene) =>
      cutOnce(
        scene,
        faults.contentRange((start, end, size) => `bytes ${start + 1}-${end}/${size}`),
      ),
  },
  {
    what: 'says 206 and the right range, and sends the whole',
    odd: (scene) =>
      cutOnce(scene, (answer) => {
        answer.status = 206
        answer.headers['content-range'] = `bytes ${4 * chunkBytes}-${layer.length - 1}/${layer.length}`
      }),
  },
  { what: 'ignores ranges', odd: (scene) => cutOnce(scene, faults.ignoreRange()) },
  ...[401, 403, 404, 405, 500, 503].map(
    (status): Row => ({
      what: `answers HEAD with ${status}`,
      odd: ({ upstream }) => upstream.inject('HEAD ', faults.status(status)),
    }),
  ),
  {
    what: 'does not answer HEAD',
    odd: ({ upstream }) => upstream.inject('HEAD ', faults.hang()),
  },
  {
    what: 'answers HEAD with a page',
    odd: ({ upstream }) => upstream.inject('HEAD ', head(faults.html())),
  },
  {
    what: 'calls manifests text',
    odd: ({ upstream }) => upstream.inject('/manifests/', faults.headers({ 'content-type': 'text/plain' })),
  },
  {
    what: 'calls manifests text to HEAD only',
    odd: ({ upstream }) => upstream.inject('HEAD ', faults.headers({ 'content-type': 'text/plain' })),
  },
  {
    what: 'calls an OCI manifest one of Docker',
    getOnly: true,
    odd: ({ upstream }) =>
      upstream.inject(
        'HEAD ',
        faults.headers({ 'content-type': 'application/vnd.docker.distribution.manifest.v2+json' }),
      ),
  },
  {
    what: 'calls everything HTML, and says no digest',
    odd: ({ upstream }) =>
      upstream.inject('/v2/', faults.all(faults.noDigest(), faults.headers({ 'content-type': 'text/html' }))),
  },
  {
    what: 'says a wrong digest of everything',
    getOnly: true,
    odd: ({ upstream }) =>
      upstream.inject('/v2/', faults.headers({ 'docker-content-digest': `sha256:${'0'.repeat(64)}` })),
  },
  {
    what: 'says a wrong digest to HEAD',
    getOnly: true,
    odd: ({ upstream }) =>
      upstream.inject('HEAD ', faults.headers({ 'docker-content-digest': `sha256:${'0'.repeat(64)}` })),
  },
  ...(['gzip', 'deflate', 'br', 'zstd'] as const).map(
    (coding): Row => ({
      what: `encodes everything with ${coding}`,
      odd: ({ upstream }) => upstream.inject('/v2/', faults.encoded(coding)),
    }),
  ),
  {
    what: 'encodes everything, cuts it, and encodes ranges as well',
    odd: (scene) => {
      scene.upstream.inject('/v2/', faults.encoded('gzip'))
      scene.upstream.inject(/GET .*\/blobs\//, faults.truncate(3 * chunkBytes + 11), 1)
    },
  },
  {
    what: 'says that layers are gzip, as it would of a file name',
    odd: ({ upstream }) => upstream.inject('/v2/', faults.headers({ 'content-encoding': 'gzip' })),
  },
  {
    what: 'says a coding that is none',
    odd: ({ upstream }) => upstream.inject('/v2/', faults.headers({ 'content-encoding': 'aws-chunked' })),
  },
  ...[404, 405, 500].map(
    (status): Row => ({
      what: `gives manifests by their tag only, and answers ${status} for their digest`,
      getOnly: true,
      odd: ({ upstream, image }) =>
        upstream.inject(`GET /v2/library/app/manifests/${image.manifest}`, faults.status(status)),
    }),
  ),
  {
    what: 'shows the anonymous a login page',
    isPrivate: true,
    odd: ({ upstream }) => {
      upstream.inject('/v2/library/', (answer, request) => {
        if (request.headers.authorization !== basic('user:secret')) faults.html()(answer, request)
      })
      return withPassword
    },
  },
  {
    what: 'redirects the anonymous to a login page',
    isPrivate: true,
    odd: ({ upstream }) => {
      upstream.inject('/v2/library/', (answer, request) => {
        if (request.headers.authorization !== basic('user:secret'))
          faults.redirect(`${upstream.url}/login`)(answer, request)
      })
      upstream.inject('/login/', faults.all(faults.status(200), faults.html()))
      return withPassword
    },
  },
  {
    what: 'names another scope than its own in its challenge',
    odd: ({ upstream }) => {
      upstream.requireBearer({ named: 'repository:user/image:pull' })
    },
  },
  {
    what: 'has a token service that encodes its answers, and says 201',
    odd: ({ upstream }) => {
      upstream.requireBearer()
      upstream.inject('/token', (answer, request) => {
        faults.encoded('gzip')(answer, request)
        answer.status = 201
      })
    },
  },
  {
    what: 'has a token service that knows POST only',
    isPrivate: true,
    odd: ({ upstream }) => {
      upstream.requireBearer({ accounts: { user: 'secret' }, postOnly: true })
      return withPassword
    },
  },
  {
    what: 'has headers of 100 kB',
    odd: ({ upstream }) => upstream.inject('/v2/', faults.headers({ 'content-security-policy': 'a'.repeat(100_000) })),
  },
  ...[400, 403, 404, 405, 500].flatMap((status): Row[] => [
    {
      what: `answers the anonymous with ${status}, and the node has a password`,
      isPrivate: true,
      odd: ({ upstream }) => {
        hides(upstream, status)
        return withPassword
      },
    },
    {
      what: `answers the anonymous with ${status}, and the client has a password`,
      isPrivate: true,
      headers: { authorization: basic('user:secret') },
      odd: ({ upstream }) => hides(upstream, status),
    },
  ]),
  {
    what: 'gives everybody what the node has an outdated password for',
    odd: ({ upstream }) => {
      upstream.requireBearer({ accounts: { user: 'new' }, anonymous: true })
      return withPassword
    },
  },
  {
    what: 'is behind a proxy that says 203',
    odd: ({ upstream }) =>
      upstream.inject('/v2/', (answer) => {
        if (answer.status === 200) answer.status = 203
      }),
  },
  {
    what: 'answers 401 without saying how to log in, and says it at the root of the API',
    odd: ({ upstream }) => {
      upstream.requireBearer({ rootOnly: true })
    },
  },
  {
    what: 'names no service in its challenge, and wants none',
    odd: ({ upstream }) => {
      upstream.requireBearer({ service: false })
    },
  },
  {
    what: 'names several scopes in its challenge, and wants each by itself',
    odd: ({ upstream }) => {
      upstream.requireBearer({ scope: 'repository:library/app:pull repository:library/base:pull' })
    },
  },
]

async function newScene(): Promise<Scene> {
  const upstream = await FakeUpstream.start()
  atEnd(() => upstream.close())
  const image = {
    layer: upstream.addBlob(layer),
    config: upstream.addBlob(config),
    manifest: digestOf(new Uint8Array(0)),
  }
  const descriptor = (digest: Digest, size: number) => ({ mediaType: 'application/octet-stream', digest, size })
  const manifest = upstream.addManifest(
    {
      schemaVersion: 2,
      mediaType,
      config: descriptor(image.config, config.length),
      layers: [descriptor(image.layer, layer.length)],
    },
    mediaType,
  )
  upstream.tag('library/app', 'v1', manifest)
  return { upstream, image: { ...image, manifest } }
}

const impatient = { connectTimeout: '2s', responseTimeout: '1s', idleTimeout: '1s' }

function startNode(
  { upstream }: Scene,
  options: object | undefined,
  more: { dataDir?: string; seeds?: TestNode[] } = {},
) {
  return startTestNode({
    registries: { 'docker.io': { endpoint: upstream.url, ...options } },
    config: { upstream: impatient, tags: { freshFor: '0s', trustPeers: 'offline' } },
    ...more,
  })
}

/** As skopeo and podman pull: the manifest by its tag, with GET. */
async function pullByGet(node: TestNode, { layer: layerDigest, config: configDigest, manifest }: Image, headers = {}) {
  const got = await ask(node.url, '/v2/library/app/manifests/v1', { headers })
  expect(
    [got.status, got.headers['docker-content-digest'], got.headers['content-type']],
    got.body.toString().slice(0, 300),
  ).toEqual([200, manifest, mediaType])
  expect(digestOf(got.body)).toBe(manifest)
  for (const blob of [configDigest, layerDigest]) {
    const content = await ask(node.url, `/v2/library/app/blobs/${blob}`, { headers })
    const message = content.status === 200 ? '' : content.body.toString().slice(0, 300)
    expect([content.status, content.complete, digestOf(content.body)], message).toEqual([200, true, blob])
  }
}

/** As containerd pulls: HEAD of the tag, then all by digest. */
async function pullByHead(node: TestNode, image: Image, headers = {}) {
  const resolved = await ask(node.url, '/v2/library/app/manifests/v1?ns=docker.io', { method: 'HEAD', headers })
  expect(resolved.status).toBe(200)
  expect(resolved.headers).toMatchObject({ 'docker-content-digest': image.manifest, 'content-type': mediaType })
  const got = await ask(node.url, `/v2/library/app/manifests/${image.manifest}?ns=docker.io`, { headers })
  expect([got.status, digestOf(got.body), Number(resolved.headers['content-length'])]).toEqual([
    200,
    image.manifest,
    got.body.length,
  ])
  const content = await ask(node.url, `/v2/library/app/blobs/${image.layer}?ns=docker.io`, { headers })
  expect([content.status, content.complete, digestOf(content.body)]).toEqual([200, true, image.layer])
}

// Each has registries and nodes of its own, and waits for most of its time.
describe.concurrent.each(rows)('a registry that $what', ({ odd, headers = {}, isPrivate, getOnly }) => {
  it('is pulled from, cold, and by a second node whose only source is the first', async () => {
    const scene = await newScene()
    const options = (await odd(scene)) ?? undefined
    const node = await startNode(scene, options)
    await pullByGet(node, scene.image, headers)
    // Now it is known what the tag is, and what kind of registry this is; and soon all is kept.
    await until(async () => (await node.status()).store.blobs === 3)
    await pullByHead(node, scene.image, headers)
    const other = await startNode(scene, options, { seeds: [node] })
    await untilConnected(node, other)
    await scene.upstream.close()
    if (isPrivate === true) {
      const refused = await ask(other.url, `/v2/library/app/blobs/${scene.image.layer}`, { headers })
      expect(refused.status).toBeGreaterThanOrEqual(400)
    } else {
      // A peer has a second to say what a tag is, and a client that hears nothing tries again.
      await until(async () => (await ask(other.url, '/v2/library/app/manifests/v1', { headers })).status === 200)
      await pullByGet(other, scene.image, headers)
      await pullByHead(other, scene.image, headers)
    }
  })

  it('is pulled from where an earlier pull has left a part', async () => {
    const scene = await newScene()
    const dataDir = await tempDir()
    await leavePart(scene, dataDir)
    const options = (await odd(scene)) ?? undefined
    const node = await startNode(scene, options, { dataDir })
    await pullByGet(node, scene.image, headers)
  })

  it('gives a range of a layer that is not here yet, and is pulled from by a client that asks for tags by HEAD', async () => {
    const scene = await newScene()
    const options = (await odd(scene)) ?? undefined
    const node = await startNode(scene, options)
    const start = 4 * chunkBytes + 3
    const end = start + 1000
    const got = await ask(node.url, `/v2/library/app/blobs/${scene.image.layer}`, {
      headers: { ...headers, range: `bytes=${start}-${end}` },
    })
    expect([200, 206], got.body.toString().slice(0, 300)).toContain(got.status)
    const expected = got.status === 206 ? layer.subarray(start, end + 1) : layer
    expect(got.complete && got.body.equals(expected)).toBe(true)
    if (getOnly === true) return
    await pullByHead(node, scene.image, headers)
    // Again, from the cache and with what was learned of the registry.
    await pullByHead(node, scene.image, headers)
  })
})

/** A pull that ends in the middle, for everybody's content. */
async function leavePart(scene: Scene, dataDir: string): Promise<void> {
  const { upstream, image } = scene
  let cuts = 1
  upstream.inject('/blobs/', (answer, request) => {
    if (cuts-- > 0) faults.truncate(3 * chunkBytes + 11)(answer, request)
    else faults.status(404)(answer, request)
  })
  const node = await startNode(scene, undefined, { dataDir })
  const got = await ask(node.url, `/v2/library/app/blobs/${image.layer}`)
  expect(got.complete).toBe(false)
  await node.stop()
  expect(await readdir(join(dataDir, 'blobs', 'partial'))).not.toHaveLength(0)
  upstream.heal()
}
