import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { startTestNode, type TestNode, until } from '../fixtures/node.ts'

/** Time for a busy machine, in ms: the folder is looked at every few seconds. */
const patience = 60_000

async function setUp() {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const registries = { 'docker.io': upstream.url }
  const node = await startTestNode({ registries })
  const digest = upstream.addBlob(pseudoRandomBytes(3_000_000))
  return { upstream, registries, node, digest }
}

/** Requests that upstream got for a pull. */
async function pull(upstream: FakeUpstream, node: TestNode, digest: string): Promise<number> {
  const before = upstream.requests.length
  const got = await ask(node.url, `/v2/app/blobs/${digest}`)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, digest])
  return upstream.requests.length - before
}

const readyz = async ({ addresses }: TestNode) => {
  const answer = await fetch(`http://${addresses.admin}/readyz`)
  return { status: answer.status, text: await answer.text() }
}

it('a data folder that is removed under a running node is made anew, and blobs are stored again', async () => {
  const { upstream, registries, node, digest } = await setUp()
  await pull(upstream, node, digest)
  expect(await pull(upstream, node, digest)).toBe(0)
  const key = await readFile(join(node.dataDir, 'key'))
  // The node may be writing there.
  await rm(node.dataDir, { recursive: true, maxRetries: 10 })
  await until(() => node.log.some(({ msg }) => /folders were removed while the node runs/.test(String(msg))), patience)
  await until(async () => (await node.status()).store.blobs === 0, patience)
  expect(await pull(upstream, node, digest)).toBeGreaterThan(0)
  expect(await pull(upstream, node, digest)).toBe(0)
  expect((await readyz(node)).status).toBe(200)
  // The next start has the same identity, and finds the blob, which anybody may have.
  await until(async () => (await readdir(node.dataDir)).includes('key'), patience)
  expect(await readFile(join(node.dataDir, 'key'))).toEqual(key)
  await node.stop()
  const again = await startTestNode({ registries, dataDir: node.dataDir })
  expect(await pull(upstream, again, digest)).toBe(0)
})

it('a data folder that can not be made anew is said in log, status and readiness, until it can be', async () => {
  const { upstream, node, digest } = await setUp()
  await pull(upstream, node, digest)
  const away = `${node.dataDir}-away`
  await rename(node.dataDir, away)
  onTestFinished(() => rm(away, { recursive: true }))
  await writeFile(node.dataDir, 'in its place')
  await until(async () => (await readyz(node)).status === 503, patience)
  expect((await readyz(node)).text).toMatch(/data directory was removed and can't be made anew/)
  expect((await node.status()).store.problem).toMatch(/can't be made anew/)
  await pull(upstream, node, digest)
  await rm(node.dataDir)
  await until(async () => (await readyz(node)).status === 200, patience)
  await pull(upstream, node, digest)
  expect(await pull(upstream, node, digest)).toBe(0)
})
