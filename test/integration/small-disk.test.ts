import { expect, it, onTestFinished } from 'vitest'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../fixtures/bytes.ts'
import { ask } from '../fixtures/client.ts'
import { FakeUpstream } from '../fixtures/fake-upstream.ts'
import { until } from '../fixtures/node.ts'
import { type NodeProcess, spawnNode } from '../fixtures/process.ts'
import { privateMounts } from '../fixtures/small-disk.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const MiB = 2 ** 20

const program = new URL('../../daemon/cli/bin.ts', import.meta.url).pathname

const anyPorts = ['--listen', '--admin', '--p2p-listen', '--transfer-listen']
  .map((flag) => `${flag} 127.0.0.1:0`)
  .join(' ')

/** Time for a busy machine, in ms; all of these take a second or a few. */
const patience = 60_000

async function setUp(mount: (folder: string) => string) {
  const upstream = await FakeUpstream.start()
  onTestFinished(() => upstream.close())
  const dataDir = await tempDir()
  const { wrapper, run } = await privateMounts(mount(dataDir))
  const start = () => spawnNode(dataDir, ['--registry', `docker.io=${upstream.url}`], wrapper)
  const layer = (name: string, size = 4 * MiB) => upstream.addBlob(pseudoRandomBytes(size, name))
  return { upstream, dataDir, run, start, layer }
}

const tmpfs = (size: number) => (folder: string) => `mount -t tmpfs -o size=${size}m tmpfs ${folder}`

/** An ext4 file system in a file that is gone as soon as it is unmounted. */
const ext4 = (size: number) => (folder: string) =>
  `truncate -s ${size}M ${folder}/disk && mkfs.ext4 -q -m 0 ${folder}/disk && mount -o loop ${folder}/disk ${folder}`

async function pull(node: NodeProcess, digest: Digest) {
  const got = await ask(node.url, `/v2/app/blobs/${digest}`)
  expect([got.status, got.complete, digestOf(got.body)]).toEqual([200, true, digest])
}

const statusOf = async (node: NodeProcess) => (await (await fetch(`${node.admin}/api/v1/status`)).json()) as NodeStatus

const freeBytes = async (run: (script: string) => Promise<string>, folder: string) =>
  Number(await run(`stat -f -c '%a * %S' ${folder} | { read a x b; echo $((a * b)); }`))

/** Pulls of a blob that ask upstream nothing more. */
async function isKept({ requests }: FakeUpstream, node: NodeProcess, digest: Digest) {
  const before = requests.length
  await pull(node, digest)
  return requests.length === before
}

for (const [name, mount] of Object.entries({ tmpfs: tmpfs(80), ext4: ext4(80) })) {
  it(`a disk smaller than the quota: the newest stay, the disk is never full, and a start works (${name})`, async () => {
    const { upstream, dataDir, run, start, layer } = await setUp(mount)
    let node = await start()
    const layers = Array.from({ length: 40 }, (_, index) => layer(String(index)))
    for (const digest of layers) {
      await pull(node, digest)
      expect(await freeBytes(run, dataDir)).toBeGreaterThan(MiB)
    }
    expect(await isKept(upstream, node, layers[39] as Digest)).toBe(true)
    const { store } = await statusOf(node)
    expect(store.evictedBlobs).toBeGreaterThan(20)
    for (let round = 0; round < 3; round++) {
      await node.kill()
      node = await start()
      expect(await isKept(upstream, node, layers[39] as Digest)).toBe(true)
    }
  })
}

it('a start on a full disk makes room, three times of three', async () => {
  const { upstream, dataDir, run, start, layer } = await setUp(tmpfs(80))
  let node = await start()
  const layers = Array.from({ length: 10 }, (_, index) => layer(String(index)))
  for (const digest of layers) await pull(node, digest)
  for (let round = 0; round < 3; round++) {
    await node.kill()
    await run(`dd if=/dev/zero of=${dataDir}/foreign${round} bs=64k 2>/dev/null || true`)
    expect(await freeBytes(run, dataDir)).toBeLessThan(64 * 1024)
    node = await start()
    await until(async () => (await freeBytes(run, dataDir)) >= 3.9 * MiB, patience)
    const next = layer(`after ${round}`, MiB)
    await pull(node, next)
    expect(await isKept(upstream, node, next)).toBe(true)
  }
})

it('gives way to what other programs write, and says so', async () => {
  const { upstream, dataDir, run, start, layer } = await setUp(tmpfs(80))
  const node = await start()
  const layers = Array.from({ length: 12 }, (_, index) => layer(String(index)))
  for (const digest of layers) await pull(node, digest)
  await run(`dd if=/dev/zero of=${dataDir}/foreign bs=64k 2>/dev/null || true`)
  await until(async () => (await freeBytes(run, dataDir)) >= 3.9 * MiB, patience)
  const { store } = await statusOf(node)
  expect(store.evictedBlobs).toBeGreaterThan(0)
  expect(store.blobs).toBeGreaterThan(0)
  // And takes the room again when it is there.
  await run(`rm ${dataDir}/foreign`)
  await until(async () => ((await statusOf(node)).store.freeBytes ?? 0) > 30 * MiB, patience)
  for (const digest of layers) await pull(node, digest)
  expect(await isKept(upstream, node, layers[0] as Digest)).toBe(true)
})

it('a disk that others have filled to the last byte: pulls go on, it is said, a start works, and storing goes on', async () => {
  const { upstream, dataDir, run, start, layer } = await setUp(tmpfs(120))
  let node = await start()
  const layers = Array.from({ length: 3 }, (_, index) => layer(String(index)))
  for (const digest of layers) await pull(node, digest)
  await until(async () => (await run(`ls ${dataDir}`)).includes('ballast'), patience)
  const fill = `while dd if=/dev/zero bs=64k 2>/dev/null >> ${dataDir}/foreign; do :; done; true`
  await until(async () => {
    await run(fill)
    const { store } = await statusOf(node)
    return store.blobs === 0 && store.isShort
  }, patience)
  await run(fill)
  for (const digest of layers) await pull(node, digest)
  await pull(node, layer('small', 1000))
  const { store } = await statusOf(node)
  expect(store.uncachedBlobs.disk).toBe(4)
  expect(store.lastUncached).toMatchObject({ reason: 'disk', message: /store\.minFree/ })
  expect((await fetch(`${node.admin}/readyz`)).status).toBe(200)
  const metrics = await (await fetch(`${node.admin}/metrics`)).text()
  expect(metrics).toMatch(/^layerd_uncached_blobs_total\{reason="disk"\} 4$/m)
  expect(metrics).toMatch(/^layerd_disk_free_bytes \d+$/m)
  await node.kill()
  node = await start()
  await run(`rm ${dataDir}/foreign`)
  await until(async () => !(await statusOf(node)).store.isShort, patience)
  for (const digest of layers) await pull(node, digest)
  await node.kill()
  node = await start()
  // Public as before: upstream is not asked whether it may be given.
  for (const digest of layers) expect(await isKept(upstream, node, digest)).toBe(true)
})

it('records that could not be written on a full disk keep nothing from being stored later, and from lasting', async () => {
  const { upstream, dataDir, run, start, layer } = await setUp(tmpfs(40))
  let node = await start()
  const first = layer('first')
  await pull(node, first)
  const fill = `while dd if=/dev/zero bs=64k 2>/dev/null >> ${dataDir}/foreign; do :; done; true`
  await until(async () => {
    await run(fill)
    return (await statusOf(node)).store.blobs === 0
  }, patience)
  await run(`${fill}; dd if=/dev/zero bs=1 count=4096 2>/dev/null >> ${dataDir}/foreign; true`)
  for (let index = 0; index < 60; index++) {
    const annotations = { index: String(index).repeat(50) }
    upstream.tag('library/app', `v${index}`, upstream.addManifest({ schemaVersion: 2, layers: [], annotations }))
    expect((await ask(node.url, `/v2/library/app/manifests/v${index}`)).status).toBe(200)
  }
  await run(`rm ${dataDir}/foreign`)
  await until(async () => !(await statusOf(node)).store.isShort, patience)
  await pull(node, first)
  expect(await isKept(upstream, node, first)).toBe(true)
  await node.kill()
  node = await start()
  expect(await isKept(upstream, node, first)).toBe(true)
})

it('blobs/ on a disk of its own: blobs are stored there, and parts of them are gone on with', async () => {
  const { upstream, dataDir, run, start, layer } = await setUp(
    (folder) => `mkdir ${folder}/blobs && mount -t tmpfs -o size=80m tmpfs ${folder}/blobs`,
  )
  let node = await start()
  const layers = Array.from({ length: 3 }, (_, index) => layer(String(index)))
  for (const digest of layers) await pull(node, digest)
  for (const digest of layers) expect(await isKept(upstream, node, digest)).toBe(true)
  const { store } = await statusOf(node)
  expect([store.blobs, store.minFreeBytes, store.uncachedBlobs]).toEqual([3, 4 * MiB, { disk: 0, quota: 0, error: 0 }])
  expect((await run(`ls ${dataDir}/blobs/sha256`)).trim().split('\n')).toHaveLength(3)
  await node.kill()
  node = await start()
  for (const digest of layers) expect(await isKept(upstream, node, digest)).toBe(true)
})

/** The data folder on a tmpfs, and blobs/ on an ext4 file system in a file that is gone as soon as it is unmounted. */
const twoDisks = (size: number, blobs: number) => (folder: string) =>
  [
    `mount -t tmpfs -o size=${size}m tmpfs ${folder}`,
    `mkdir ${folder}/blobs && fallocate -l ${blobs}M ${folder}/image && mkfs.ext4 -q -m 0 ${folder}/image`,
    `mount -o loop ${folder}/image ${folder}/blobs && rm ${folder}/image`,
  ].join(' && ')

const fillWith = (path: string) =>
  `while dd if=/dev/zero bs=64k 2>/dev/null >> ${path}; do :; done; while dd if=/dev/zero bs=1k count=1 2>/dev/null >> ${path}; do :; done; true`

it('blobs/ on a disk of its own that is full: a start makes room there', async () => {
  const { upstream, dataDir, run, start, layer } = await setUp(twoDisks(200, 40))
  let node = await start()
  const layers = Array.from({ length: 3 }, (_, index) => layer(String(index)))
  for (const digest of layers) await pull(node, digest)
  await node.kill()
  // A folder that is made again needs room.
  await run(`rm -r ${dataDir}/blobs/staging ${dataDir}/blobs/partial; ${fillWith(`${dataDir}/blobs/foreign`)}`)
  for (let round = 0; round < 3; round++) {
    node = await start()
    await node.kill()
  }
  await run(`rm ${dataDir}/blobs/foreign`)
  node = await start()
  const next = layer('after', MiB)
  await pull(node, next)
  expect(await isKept(upstream, node, next)).toBe(true)
})

it('blobs/ on a disk of its own that others have filled: the error names that disk', async () => {
  const { dataDir, run, start } = await setUp(twoDisks(200, 20))
  await run(fillWith(`${dataDir}/blobs/foreign`))
  const said = run(`${process.execPath} ${program} serve --data-dir ${dataDir} --no-mdns ${anyPorts} 2>&1 || true`)
  expect(await said).toMatch(new RegExp(`the disk of ${dataDir}/blobs is full`))
  await run(`rm ${dataDir}/blobs/foreign`)
  await start()
})

it('records on a full disk of their own: it is said, a start works, and storing goes on when there is room', async () => {
  // Of so small a disk of blobs nothing would be left for the ballast, which is on the other one.
  const { upstream, dataDir, run, start, layer } = await setUp(
    (folder) => `${tmpfs(100)(folder)} && mkdir ${folder}/blobs && ${tmpfs(30)(`${folder}/blobs`)}`,
  )
  let node = await start()
  const first = layer('first')
  await pull(node, first)
  await until(async () => (await run(`ls ${dataDir}`)).includes('ballast'), patience)
  expect((await statusOf(node)).store.records).toMatchObject({ isShort: false })
  await run(fillWith(`${dataDir}/foreign`))
  await until(async () => (await statusOf(node)).store.records?.isShort === true, patience)
  // What is on the other disk is no reason to evict.
  expect((await statusOf(node)).store).toMatchObject({ isShort: false, evictedBlobs: 0 })
  expect((await ask(node.url, `/v2/app/blobs/${layer('second')}`)).status).toBe(200)
  await node.kill()
  node = await start()
  await run(`rm ${dataDir}/foreign`)
  await until(async () => (await statusOf(node)).store.records?.isShort === false, patience)
  const next = layer('after', MiB)
  await pull(node, next)
  for (const digest of [first, next]) expect(await isKept(upstream, node, digest)).toBe(true)
})
