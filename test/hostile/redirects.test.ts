import type { LookupFunction } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { TestClient } from '../fixtures/fake-upstream/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { startTestNode } from '../fixtures/node.ts'
import { TestProxy } from '../fixtures/test-proxy.ts'

const layer = pseudoRandomBytes(1_000, 'layer')

/** All names are of this machine, as a hostile DNS says. */
const rebound: LookupFunction = (_name, options, callback) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}

async function startUpstream(): Promise<FakeUpstream> {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  upstream.addBlob(layer)
  return upstream
}

describe('a registry’s redirect', () => {
  it('never leads to a server of the node itself', async () => {
    const upstream = await startUpstream()
    const node = await startTestNode({
      registries: { 'docker.io': upstream.url },
      config: { registry: { loginListen: '127.0.0.1:0' } },
    })
    const { registry, login, admin, transfer } = node.addresses
    const p2p = (await node.status()).multiaddrs[0]?.split('/')[4]
    for (const port of [registry, login, admin, transfer, `:${p2p}`].map((address) => address?.split(':').at(-1))) {
      for (const host of ['127.0.0.1', 'localhost', '127.0.0.53', '[::ffff:127.0.0.1]', '0x7f000001']) {
        upstream.heal()
        upstream.inject('/blobs/', faults.redirect(`http://${host}:${port}`))
        const answer = await ask(node.url, `/v2/team/app/blobs/${digestOf(layer)}`)
        expect(answer.status).toBe(503)
        expect(answer.body.toString(), `${host}:${port}`).toContain('is a server of this node itself')
      }
    }
  })

  it('does not lead to this machine where the registry is not on it', async () => {
    const upstream = await startUpstream()
    const storage = await upstream.cdn()
    const port = new URL(storage).port
    const place = upstream.host.replace('127.0.0.1', 'registry.example')
    // The registry is beyond a proxy.
    const proxy = await TestProxy.start({ routes: { [place]: upstream.host } })
    onTestFinished(() => proxy[Symbol.asyncDispose]())
    await using client = new TestClient(
      { url: `http://${place}`, host: place },
      { upstream: { proxy: { http: proxy.url, except: ['storage.example'] } }, lookup: rebound },
    )
    const hosts = ['127.0.0.1', 'localhost', 'storage.example', '[::1]', '0.0.0.0', '169.254.169.254']
    for (const host of hosts) {
      upstream.heal()
      upstream.inject('/blobs/', faults.redirect(`http://${host}:${port}`))
      const pulled = client.pull(digestOf(layer))
      await expect(pulled, host).rejects.toMatchObject({
        code: 'broken',
        message: /on this machine or on its own link/,
      })
    }
    expect(upstream.requests.filter(({ server }) => server === 'cdn')).toEqual([])
    // It is not tried again: another attempt would end as well.
    expect(upstream.seen('GET /v2/')).toHaveLength(hosts.length)
  })

  it('leads from a name of this machine to its other ports, by any name', async () => {
    const upstream = await startUpstream()
    const { port } = new URL(await upstream.cdn())
    const place = upstream.host.replace('127.0.0.1', 'myhost.example')
    await using client = new TestClient({ url: `http://${place}`, host: place }, { lookup: rebound })
    for (const host of ['myhost.example', 'storage.example', '127.0.0.1']) {
      upstream.inject('/blobs/', faults.redirect(`http://${host}:${port}`), 1)
      expect(await client.pull(digestOf(layer))).toEqual(layer)
    }
    expect(upstream.requests.filter(({ server }) => server === 'cdn')).toHaveLength(3)
  })

  it('leads from this machine to this machine', async () => {
    const upstream = await startUpstream()
    await using client = new TestClient(upstream)
    upstream.inject('/blobs/', faults.redirect(await upstream.cdn()), 1)
    expect(await client.pull(digestOf(layer))).toEqual(layer)
  })
})
