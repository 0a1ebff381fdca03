import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { chunkBytes, quarterBytes } from '../../daemon/verify/quarter.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream, faults } from '../fixtures/fake-upstream.ts'
import { until } from '../fixtures/node.ts'
import { spawnNode } from '../fixtures/process.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const kills = 8

describe('kill -9', () => {
  it('at any moment of a pull leaves nothing wrong, and nothing that needs a person', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    upstream.inject('GET', faults.slow(6 * quarterBytes))
    const dataDir = await tempDir()
    const args = ['--registry', `docker.io=${upstream.url}`]
    const moments: number[] = []
    let unfinished = 0
    for (let round = 0; round < kills; round++) {
      const layers = Array.from({ length: 4 }, (_, index) =>
        pseudoRandomBytes(3 * quarterBytes + index, `${round} ${index}`),
      )
      const digests = layers.map((layer) => upstream.addBlob(layer))
      const node = await spawnNode(dataDir, args)
      const pulls = digests.map((digest) => ask(node.url, `/v2/app/blobs/${digest}`).catch(() => undefined))
      // Each pull takes half a second: most of these moments are in the middle of it.
      const moment = 50 + Math.random() * 500
      moments.push(Math.round(moment))
      await delay(moment)
      await node.kill()
      for (const [index, got] of (await Promise.all(pulls)).entries()) {
        if (got?.complete) expect(digestOf(got.body)).toBe(digests[index])
      }
      unfinished += (await readdir(join(dataDir, 'blobs', 'partial'))).length
      // Every file that has the name of a blob is that blob, before anybody has had a look at it.
      for (const name of await readdir(join(dataDir, 'blobs', 'sha256'))) {
        const bytes = await readFile(join(dataDir, 'blobs', 'sha256', name))
        expect(digestOf(bytes), `killed after ${moments} ms`).toBe(`sha256:${name}`)
      }
      const again = await spawnNode(dataDir, args)
      for (const digest of digests) {
        const got = await ask(again.url, `/v2/app/blobs/${digest}`)
        expect([got.status, got.complete, digestOf(got.body)], `killed after ${moments} ms`).toEqual([
          200,
          true,
          digest,
        ])
      }
      // What was begun has been gone on with, and nothing is left of it.
      await until(async () => (await readdir(join(dataDir, 'blobs', 'partial'))).length === 0)
      await again.kill()
    }
    expect(unfinished, `killed after ${moments} ms`).toBeGreaterThan(0)
  })
})

describe('kill -9 at 60 % of a pull', () => {
  it('costs no quarter that was there: the same pull goes on where it stopped', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    upstream.inject('GET', faults.slow(20 * quarterBytes))
    const layer = pseudoRandomBytes(30 * quarterBytes + 5)
    const blob = upstream.addBlob(layer)
    const dataDir = await tempDir()
    const args = ['--registry', `docker.io=${upstream.url}`]
    const node = await spawnNode(dataDir, args)
    const pull = ask(node.url, `/v2/app/blobs/${blob}`).catch(() => undefined)
    const fetched = async (admin: string) => {
      const status = (await (await fetch(`${admin}/api/v1/status`)).json()) as NodeStatus
      return status.counters.fetchedBytes.upstream
    }
    while ((await fetched(node.admin)) < layer.length * 0.6) await delay(5)
    const before = await fetched(node.admin)
    await node.kill()
    await pull
    const again = await spawnNode(dataDir, args)
    const got = await ask(again.url, `/v2/app/blobs/${blob}`)
    expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, blob])
    // The quarter that was under way, and one whose bit was not written yet.
    expect((await fetched(again.admin)) + before).toBeLessThanOrEqual(layer.length + 3 * quarterBytes)
    await again.kill()
  })
})

describe('a full disk', () => {
  it('turns caching off for the blob that does not fit, not the pull', async () => {
    const upstream = await FakeUpstream.start()
    onTestFinished(() => upstream.close())
    const [small, large] = [pseudoRandomBytes(chunkBytes, 'small'), pseudoRandomBytes(12 * chunkBytes, 'large')]
    const digests = [small, large, small].map((layer) => upstream.addBlob(layer))
    const dataDir = await tempDir()
    // A file system of 8 MiB that only this process sees, and that is gone with it.
    const unshare = process.getuid?.() === 0 ? ['unshare', '-m'] : ['unshare', '-rm']
    const mount = `mount -t tmpfs -o size=8m tmpfs ${dataDir} && exec "$@"`
    const node = await spawnNode(
      dataDir,
      ['--registry', `docker.io=${upstream.url}`],
      [...unshare, 'sh', '-c', mount, 'sh'],
    )
    for (const digest of digests) {
      const got = await ask(node.url, `/v2/app/blobs/${digest}`)
      expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, digest])
    }
    for (let index = 0; index < 30; index++) {
      const manifest = upstream.addManifest({
        schemaVersion: 2,
        layers: [],
        annotations: { index: String(index).repeat(50_000) },
      })
      upstream.tag('library/app', `v${index}`, manifest)
      const got = await ask(node.url, `/v2/app/manifests/v${index}`)
      expect([got.status, digestOf(got.body)]).toEqual([200, manifest])
    }
    const status = (await (await fetch(`${node.admin}/api/v1/status`)).json()) as NodeStatus
    expect(status.store.bytes).toBeGreaterThanOrEqual(chunkBytes)
    expect(status.store.bytes).toBeLessThan(8 * chunkBytes)
  })
})
