import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { cable, Machine } from '../fixtures/machines.ts'
import { startTestNode, until, untilConnected } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'
import { GuardedRegistry } from './guarded-registry.ts'

const layer = pseudoRandomBytes(3_000_000, 'private layer')
const otherLayer = pseudoRandomBytes(1_000, 'other layer')

const encoded = (text: string) => Buffer.from(text).toString('base64')
const basic = (text: string): Record<string, string> => ({ authorization: `Basic ${encoded(text)}` })

/** How many clients there are that may not. */
const clientCount = 200

/**
 * A registry with one private image, and another for another account; a node that has the image, and one that can only get it from
 * the first. Both have credentials of their own, which they use for nobody.
 */
async function setUp(lendCredentials: 'loopback' | 'none') {
  const registry = await GuardedRegistry.start()
  const image = registry.addImage('me/app', layer)
  const other = registry.addImage('other/app', otherLayer)
  registry.accounts.set('node', { password: 'own', repositories: new Set(['me/app', 'other/app']) })
  registry.accounts.set('user', { password: 'right', repositories: new Set(['me/app']) })
  registry.accounts.set('gone', { password: 'right', repositories: new Set(['me/app']) })
  registry.accounts.set('other', { password: 'right', repositories: new Set(['other/app']) })
  const folder = await tempDir()
  const dockerConfig = join(folder, 'config.json')
  await writeFile(
    dockerConfig,
    JSON.stringify({ auths: { [new URL(registry.url).host]: { auth: encoded('node:own') } } }),
  )
  const swarmKey = join(folder, 'swarm.key')
  await writeFile(swarmKey, `/key/swarm/psk/1.0.0/\n/base16/\n${'5a'.repeat(32)}\n`)
  const options = {
    registries: { 'private.example': registry.url },
    config: {
      registry: { loginListen: '127.0.0.1:0', lendCredentials },
      upstream: { dockerConfig, attempts: 1, offlineFor: '100ms' },
      access: { freshFor: '0s' },
      tags: { freshFor: '0s' },
      swarm: { swarmKey },
    },
  }
  const node = await startTestNode(options)
  const base = '/v2/private.example/me/app'
  for (const path of [`${base}/manifests/latest`, `${base}/tags/list`, `${base}/blobs/${image.layer}`]) {
    for (const user of ['user', 'gone']) {
      expect(await ask(node.url, path, { headers: basic(`${user}:right`) })).toMatchObject({ status: 200 })
    }
  }
  await until(async () => (await node.status()).store.blobs >= 2)
  const second = await startTestNode({ ...options, seeds: [node] })
  await untilConnected(node, second)
  return { registry, image, other, node, second }
}

type Stage = Awaited<ReturnType<typeof setUp>>

/** All ways to ask for the image; in the other repository, too, where it is not. */
function questions({ image }: Stage): { path: string; method?: string; range?: string }[] {
  return ['me/app', 'other/app'].flatMap((repository) => {
    const base = `/v2/private.example/${repository}`
    const blob = `${base}/blobs/${image.layer}`
    const manifest = `${base}/manifests/${image.manifest}`
    const lists = [`${base}/tags/list`, `${base}/referrers/${image.manifest}`]
    const own = [`${base}/manifests/latest`, ...lists].filter(() => repository === 'me/app')
    return [
      ...[blob, manifest, `${base}/manifests/${image.layer}`, ...own].map((path) => ({ path })),
      ...[blob, manifest, ...own].map((path) => ({ path, method: 'HEAD' })),
      ...['bytes=0-9', 'bytes=-10', 'bytes=0-9,20-29'].map((range) => ({ path: blob, range })),
    ]
  })
}

/** Whether an answer gives away anything of the image that was not in the question. */
function tells(answer: Awaited<ReturnType<typeof ask>>, path: string, { image }: Stage): boolean {
  const { status, headers, body } = answer
  const said = JSON.stringify(headers) + body.toString('latin1')
  const isNews = [image.layer, image.manifest].some((digest) => said.includes(digest) && !path.includes(digest))
  const isBytes = body.length > 0 && layer.includes(body.subarray(0, 10))
  return status < 400 || isNews || isBytes || headers['docker-content-digest'] !== undefined
}

/** What clients say of themselves that may not read the image. */
const strangers: readonly [string, Record<string, string>][] = [
  ['without credentials', {}],
  ['with a wrong password', basic('user:wrong')],
  ['as a user that there is not', basic('nobody:right')],
  ['with credentials that were taken away', basic('gone:right')],
  ['with credentials for another repository', basic('other:right')],
  ['with a token that nobody gave', { authorization: 'Bearer invented' }],
]

/** Asks everything as each of the strangers on both addresses of both nodes. @returns the answers that tell something */
async function attack(stage: Stage): Promise<string[]> {
  const places = [stage.node, stage.second].flatMap(({ url, addresses }) => [url, `http://${addresses.login}`])
  const all = strangers.flatMap(([who, headers]) =>
    questions(stage).flatMap((question) => places.map((place) => ({ who, headers, place, ...question }))),
  )
  const told: string[] = []
  const client = async (index: number) => {
    for (let at = index; at < all.length; at += clientCount) {
      const { who, place, path, method = 'GET', range, headers } = all[at] as (typeof all)[number]
      const answer = await ask(place, path, {
        method,
        headers: { ...headers, ...(range === undefined ? {} : { range }) },
      })
      if (tells(answer, path, stage)) told.push(`${who}: ${method} ${path} ${range ?? ''}: ${answer.status}`)
    }
  }
  await Promise.all(Array.from({ length: clientCount }, (_, index) => client(index)))
  return told
}

describe('clients that may not read an image get nothing of it', () => {
  it('from the cache and from peers, online and offline', async () => {
    const stage = await setUp('none')
    stage.registry.accounts.delete('gone')
    const { node, second, image, registry } = stage
    expect(await attack(stage)).toEqual([])
    // The one who may reads it still, and so does the second node for that one, from its peer.
    const path = `/v2/private.example/me/app/blobs/${image.layer}`
    for (const { url } of [node, second]) {
      expect(digestOf((await ask(url, path, { headers: basic('user:right') })).body)).toBe(digestOf(layer))
    }
    await registry.stop()
    expect(await attack(stage)).toEqual([])
    expect((await ask(node.url, path, { headers: basic('user:right') })).status).toBe(200)
  })

  it('and the credentials of the node serve loopback alone, but for what a proxy asks there', async () => {
    const stage = await setUp('loopback')
    const { node, image } = stage
    const path = `/v2/private.example/me/app/blobs/${image.layer}`
    expect((await ask(node.url, path)).status).toBe(200)
    for (const header of ['Forwarded', 'X-Forwarded-For', 'X-Real-IP', 'Via']) {
      const answer = await ask(node.url, path, { headers: { [header]: '192.0.2.1' } })
      expect(answer.status, header).toBe(401)
      expect(answer.headers['www-authenticate']).toContain('Basic')
      expect(answer.body.toString()).toContain('registry.lendCredentials')
    }
    const note = node.log.filter(({ msg }) => String(msg).includes('registry.lendCredentials'))
    expect(note).toMatchObject([{ level: 40, lendCredentials: 'loopback' }])
  })
})

describe('a node that listens on all addresses', () => {
  it('uses its credentials for its own machine and not for others', async (context) => {
    const reason = await withoutNamespaces()
    if (reason !== undefined) context.skip(reason)
    const [home, stranger] = (await Promise.all([Machine.start(), Machine.start()])) as [Machine, Machine]
    await cable(home, 'eth0', stranger, 'eth0')
    await home.ip('addr add 10.79.0.1/24 dev eth0', 'link set eth0 up')
    await stranger.ip('addr add 10.79.0.2/24 dev eth0', 'link set eth0 up')
    const body = pseudoRandomBytes(100_000, 'a layer for one')
    const path = `/v2/me/app/blobs/${digestOf(body)}`
    await home.serve(80, path, body, encoded('node:own'))
    const registry = {
      LAYERD_REGISTRIES_PRIVATE_EXAMPLE_USERNAME: 'node',
      LAYERD_REGISTRIES_PRIVATE_EXAMPLE_PASSWORD: 'own',
    }
    const flags = ['--no-mdns', '--listen', '0.0.0.0:5050', '--registry', 'private.example=http://127.0.0.1:80']
    await home.node(flags, registry)
    const mirrored = `/v2/private.example${path.slice('/v2'.length)}`
    expect(await home.get(`http://127.0.0.1:5050${mirrored}`)).toMatchObject({ status: 200, digest: digestOf(body) })
    for (const client of [stranger, home]) {
      expect((await client.get(`http://10.79.0.1:5050${mirrored}`)).status).toBe(401)
    }
    expect((await home.get(`http://127.0.0.1:5050${mirrored}`)).status).toBe(200)
  })
})
