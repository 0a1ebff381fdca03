import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { until } from '../fixtures/node.ts'
import { type NodeProcess, spawnNode } from '../fixtures/process.ts'
import { codeOf, digestsOf, RegistryClient, type TestImage, testImage } from '../fixtures/registry-client.ts'
import { privateMounts } from '../fixtures/small-disk.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

/** Moments at which the node is killed; 100 were tried while this was written. */
const kills = Number(process.env.LAYERD_TEST_KILLS ?? 12)

/** A start takes a second, or several on a busy machine. */
const killLimit = 20_000

const MiB = 2 ** 20
const nowhere = ['--registry', 'docker.io=http://127.0.0.1:1']

const statusOf = async (node: NodeProcess) => (await (await fetch(`${node.admin}/api/v1/status`)).json()) as NodeStatus

/** What a client was told of its images: what it was not told may be one or the other. */
class Ledger {
  readonly there = new Map<string, TestImage>()
  readonly gone = new Map<string, TestImage>()
  /** Bytes of uploads that were acknowledged, by address. */
  readonly uploads = new Map<string, number>()
  #next = 0

  newImage(): { tag: string; image: TestImage } {
    const tag = `v${this.#next++}`
    const layers = [300_000, 20_000].map((size, index) => pseudoRandomBytes(size, `${tag} ${index}`))
    return { tag, image: testImage(layers) }
  }

  /** Pushes until the node is killed. */
  async push(client: RegistryClient): Promise<void> {
    for (;;) {
      const { tag, image } = this.newImage()
      await client.push(image, tag)
      this.there.set(tag, image)
    }
  }

  /** Deletes until the node is killed: manifests with their tags, and then their blobs. */
  async delete(client: RegistryClient, killed: AbortSignal): Promise<void> {
    while (!killed.aborted) {
      const [oldest] = this.there
      if (oldest === undefined) {
        await delay(5)
        continue
      }
      const [tag, image] = oldest
      // Until it is acknowledged, it is neither.
      this.there.delete(tag)
      for (const path of [
        `manifests/${image.digest}`,
        ...digestsOf(image)
          .slice(1)
          .map((digest) => `blobs/${digest}`),
      ]) {
        const { status } = await client.send('DELETE', path)
        if (status !== 202) throw new Error(`DELETE ${path}: ${status}`)
      }
      this.gone.set(tag, image)
    }
  }

  /** Sends chunks of an upload until the node is killed. */
  async upload(client: RegistryClient): Promise<void> {
    const chunk = pseudoRandomBytes(100_000, 'chunk')
    const location = await client.begin()
    for (let length = 0; ; length += chunk.length) {
      this.uploads.set(location, length)
      const { status } = await client.at('PATCH', location, chunk)
      if (status !== 202) throw new Error(`PATCH: ${status}`)
    }
  }

  async verify(client: RegistryClient, moments: string): Promise<void> {
    for (const [tag, image] of this.there) expect(await client.pull(image, tag), moments).toEqual(digestsOf(image))
    for (const [tag, image] of this.gone) {
      expect(new Set(await client.pull(image, tag)), moments).toEqual(new Set([undefined]))
    }
    for (const [location, length] of this.uploads) {
      const { status, headers } = await client.at('GET', location)
      expect([status, Number(headers.range?.slice(2)) + 1 >= length], moments).toEqual([204, true])
      await client.at('DELETE', location)
    }
    this.gone.clear()
    this.uploads.clear()
  }
}

it(
  'kill -9 at any moment of pushes and deletions loses nothing that was acknowledged, and leaves nothing behind',
  async () => {
    const dataDir = await tempDir()
    const ledger = new Ledger()
    const moments: number[] = []
    let done = 0
    for (let round = 0; round < kills; round++) {
      const node = await spawnNode(dataDir, nowhere)
      const client = new RegistryClient(node.url, 'team/app')
      await ledger.verify(client, `killed after ${moments} ms`)
      const before = ledger.there.size
      const killed = new AbortController()
      const work = [
        ledger.push(client),
        ledger.push(client),
        ledger.delete(client, killed.signal),
        ledger.upload(client),
      ]
      const ended = Promise.allSettled(work)
      const moment = 20 + Math.random() * 600
      moments.push(Math.round(moment))
      await delay(moment)
      await node.kill()
      killed.abort()
      for (const outcome of await ended) {
        // Nothing but the end of the node ends them.
        if (outcome.status === 'rejected')
          expect(outcome.reason).toMatchObject({ code: expect.stringMatching(/ECONN|EPIPE/) })
      }
      done += Math.abs(ledger.there.size - before) + ledger.gone.size
      for (const name of await readdir(join(dataDir, 'blobs', 'sha256'))) {
        const bytes = await readFile(join(dataDir, 'blobs', 'sha256', name))
        expect(digestOf(bytes), `killed after ${moments} ms`).toBe(`sha256:${name}`)
      }
    }
    expect(done).toBeGreaterThan(0)
    const node = await spawnNode(dataDir, nowhere)
    const client = new RegistryClient(node.url, 'team/app')
    await ledger.verify(client, `killed after ${moments} ms`)
    // What belongs to an operation that was cut is found by its name, or is not there at all.
    const { body } = await client.send('GET', 'tags/list')
    for (const tag of JSON.parse(body.toString()).tags) await client.send('DELETE', `manifests/${tag}`)
    for (const name of await readdir(join(dataDir, 'blobs', 'sha256'))) {
      const statuses = [
        await client.send('DELETE', `manifests/sha256:${name}`),
        await client.send('DELETE', `blobs/sha256:${name}`),
      ]
      expect(
        statuses.some(({ status }) => status === 202),
        `${name}, killed after ${moments} ms`,
      ).toBe(true)
    }
    // Uploads that were cut are their clients' for a day.
    const { bytes, keptBytes } = (await statusOf(node)).store
    expect([bytes, keptBytes]).toEqual([0, 0])
    await node.kill()
  },
  kills * killLimit,
)

it('a disk that others fill: a push is refused with what to do, and what was pushed outlives a start on the full disk', async () => {
  const dataDir = await tempDir()
  const { wrapper, run } = await privateMounts(`mount -t tmpfs -o size=200m tmpfs ${dataDir}`)
  let node = await spawnNode(dataDir, nowhere, wrapper)
  let client = new RegistryClient(node.url, 'app')
  const first = testImage([pseudoRandomBytes(10 * MiB, 'first')])
  await client.push(first, '1')
  const location = await client.begin()
  const blob = pseudoRandomBytes(20 * MiB, 'second')
  expect((await client.at('PATCH', location, blob.subarray(0, 5 * MiB))).status).toBe(202)
  // What gives the next start its room.
  await until(
    async () => (await run(`stat -c %s ${dataDir}/ballast 2>/dev/null || true`)).trim() === `${2 * MiB}`,
    60_000,
  )
  await run(`dd if=/dev/zero of=${dataDir}/foreign bs=64k 2>/dev/null || true`)
  const rest = { 'content-range': `${5 * MiB}-${20 * MiB - 1}` }
  const refused = await client.at('PATCH', location, blob.subarray(5 * MiB), rest)
  expect([refused.status, codeOf(refused), refused.body.toString()]).toEqual([
    403,
    'DENIED',
    expect.stringMatching(/there is no room for it on this node/),
  ])
  // Not even a small one: its record has to be durable.
  const small = await client.send('POST', `blobs/uploads/?digest=${digestOf(Buffer.from('x'))}`, Buffer.from('x'))
  expect([201, 403]).toContain(small.status)
  expect(await client.pull(first, '1')).toEqual(digestsOf(first))
  await node.kill()
  node = await spawnNode(dataDir, nowhere, wrapper)
  client = new RegistryClient(node.url, 'app')
  expect(await client.pull(first, '1')).toEqual(digestsOf(first))
  await run(`rm ${dataDir}/foreign`)
  const { headers } = await client.at('GET', location)
  const start = Number(headers.range?.slice(2)) + 1
  expect(start).toBeGreaterThanOrEqual(5 * MiB)
  const chunk = { 'content-range': `${start}-${20 * MiB - 1}` }
  const goesOn = async () => await client.finish(location, digestOf(blob), blob.subarray(start), chunk)
  // Free space is measured now and then.
  let pushed = await goesOn()
  for (let tries = 0; pushed.status === 403 && tries < 20; tries++) {
    await delay(500)
    pushed = await goesOn()
  }
  expect(pushed.status).toBe(201)
  expect((await client.send('GET', `blobs/${digestOf(blob)}`)).body.equals(blob)).toBe(true)
  await node.kill()
})
