import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, describe, expect, test } from 'vitest'
import type { SharedContent } from '../../daemon/swarm/ports.ts'
import { collect, providersOf, type TestNode, TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

const connected = (...nodes: TestNode[]) => until(() => nodes.every((node) => transferPeers(node) === nodes.length - 1))

async function swarmKeyFile(hex = randomBytes(32).toString('hex')): Promise<string> {
  const file = join(await swarm.folder(), 'swarm.key')
  await writeFile(file, `/key/swarm/psk/1.0.0/\n/base16/\n${hex}\n`)
  return file
}

const port = (node: TestNode) => node.address().split('/').at(-1)

describe('seeds', () => {
  test.each([
    ['a multiaddr without PeerId', (seed: TestNode) => seed.address()],
    ['a multiaddr with PeerId', (seed: TestNode) => `${seed.address()}/p2p/${seed.peerId()}`],
    ['a DNS name in a multiaddr', (seed: TestNode) => `/dns4/localhost/tcp/${port(seed)}`],
    ['a DNS name and PeerId', (seed: TestNode) => `/dns/localhost/tcp/${port(seed)}/p2p/${seed.peerId()}`],
    ['host:port with a name', (seed: TestNode) => `localhost:${port(seed)}`],
    ['host:port with an address', (seed: TestNode) => `127.0.0.1:${port(seed)}`],
  ])('may be %s', async (_, text) => {
    const a = await swarm.node()
    const b = await swarm.node({ config: { seeds: [text(a)] } })
    await connected(a, b)
  })

  test('that are the node itself, or wrong, don’t hinder the others', async () => {
    const a = await swarm.node()
    const [first, second] = [await freePort(), await freePort()]
    const b = await swarm.node({
      config: {
        listen: `127.0.0.1:${first}`,
        seeds: [`localhost:${first}`, `127.0.0.1:${second}`, 'no-such-host.invalid:4050', a.address()],
      },
    })
    await connected(a, b)
    expect(b.status().peers.map(({ peerId }) => peerId)).toEqual([a.peerId()])
  })

  test('are found again after they were restarted, and those met there meet each other', async () => {
    const nodes = await swarm.mesh(3)
    const [seed] = nodes as [TestNode]
    await seed.restart()
    await connected(...nodes)
  })

  test('may start after the node', async () => {
    const first = await freePort()
    const b = await swarm.node({ config: { seeds: [`localhost:${first}`] } })
    const a = await swarm.node({ config: { listen: `127.0.0.1:${first}` } })
    await connected(a, b)
  })
})

describe('identity', () => {
  test('is kept over a restart, with what the node provides', async () => {
    const [a, b] = await swarm.pair()
    const [kept, lost] = [a.content.add(randomBytes(10)), a.content.add(randomBytes(20))]
    for (const digest of [kept, lost]) a.swarm.advertise(digest, true)
    await until(async () => (await providersOf(b, lost)).length === 1)
    const before = a.peerId()
    // gone without being withdrawn, as after a crash
    a.content.blobs.delete(lost)
    await a.restart()
    await connected(a, b)
    expect(a.peerId()).toBe(before)
    await until(() => a.status().provided === 1)
    expect(await providersOf(b, kept)).toEqual([before])
    const { body } = await b.swarm.open(before, kept, { start: 0 }, AbortSignal.timeout(5000))
    expect(await collect(body)).toHaveLength(10)
    // b still names a from before; c, which joins now, hears nothing of it from a
    const c = await swarm.node({ config: { seeds: [a.address()] } })
    await until(() => c.status().peers.length === 2)
    await b.stop()
    await until(() => c.status().peers.length === 1)
    expect(await providersOf(c, lost)).toEqual([])
    expect(await providersOf(c, kept)).toEqual([before])
  })

  test('is a private file; a damaged one is an error and is left as it is', async () => {
    const a = await swarm.node()
    const file = join(a.dataDir, 'key')
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    await a.stop()
    const whole = await readFile(file)
    for (const damaged of [whole.subarray(0, 40), Buffer.alloc(0), Buffer.alloc(whole.length)]) {
      await writeFile(file, damaged)
      await expect(swarm.node({ dataDir: a.dataDir })).rejects.toThrow(/identity file .*key .* damaged/)
      expect((await readFile(file)).equals(damaged)).toBe(true)
    }
  })
})

describe('who is in', () => {
  test('nodes with the same swarm key meet, others don’t', async () => {
    const key = await swarmKeyFile()
    const a = await swarm.node({ config: { swarmKey: key } })
    const seeds = [a.address()]
    const b = await swarm.node({ config: { swarmKey: key, seeds } })
    const other = await swarm.node({ config: { swarmKey: await swarmKeyFile(), seeds } })
    const open = await swarm.node({ config: { seeds } })
    await connected(a, b)
    for (const stranger of [other, open]) expect(stranger.status().peers).toEqual([])
    expect(a.status().peers).toHaveLength(1)
  })

  test('a swarm key that is missing or malformed is an error', async () => {
    await expect(swarm.node({ config: { swarmKey: '/nowhere/swarm.key' } })).rejects.toThrow(
      /swarm\.swarmKey: .*ENOENT/,
    )
    const malformed = await swarmKeyFile('abc')
    await expect(swarm.node({ config: { swarmKey: malformed } })).rejects.toThrow(/is not a swarm key; expected/)
  })

  test('an allowlist keeps others out, whoever dials', async () => {
    const friend = await swarm.node()
    const allowedPeers = [friend.peerId()]
    await friend.stop()
    const dialled = await swarm.node()
    const a = await swarm.node({ config: { allowedPeers, seeds: [dialled.address()] } })
    const dialling = await swarm.node({ config: { seeds: [a.address()] } })
    const inside = await swarm.node({ dataDir: friend.dataDir, config: { seeds: [a.address()] } })
    await connected(a, inside)
    for (const stranger of [dialled, dialling]) expect(stranger.status().peers).toEqual([])
  })
})

describe('stopping', () => {
  test('leaves nothing that keeps the process alive, and is quick', async () => {
    const script = fileURLToPath(import.meta.resolve('../fixtures/swarm-once.ts'))
    const { stdout } = await promisify(execFile)(process.execPath, [script], { timeout: 90_000 })
    const { length, stopMs } = JSON.parse(stdout)
    expect(length).toBe(1_000_000)
    expect(stopMs).toBeLessThan(30_000)
  })

  test('is done within its bound while content hangs', async () => {
    const hangs: SharedContent = {
      open: () => new Promise(() => {}),
      tag: () => new Promise(() => {}),
    }
    const [a, b] = await swarm.pair({ content: hangs })
    const digest = a.content.add(randomBytes(10))
    const asking = b.swarm.open(a.peerId(), digest, { start: 0 }, AbortSignal.timeout(120_000))
    const started = performance.now()
    await Promise.all([expect(asking).rejects.toMatchObject({ code: 'failed' }), a.stop()])
    // Without a bound it waits for the one that asks.
    expect(performance.now() - started).toBeLessThan(60_000)
  })

  test('a port that is taken is named by its option, and nothing is left running', async () => {
    const a = await swarm.node()
    const listen = `127.0.0.1:${port(a)}`
    const dataDir = await swarm.folder()
    await expect(swarm.node({ dataDir, config: { listen } })).rejects.toThrow(/^swarm\.listen: can't listen on 127/)
    const { transfer } = a.status()
    await expect(swarm.node({ dataDir, config: { transferListen: transfer } })).rejects.toThrow(
      /^swarm\.transferListen/,
    )
    // the data directory is free again
    await swarm.node({ dataDir })
  })
})

async function freePort(): Promise<number> {
  const node = await swarm.node()
  const free = Number(port(node))
  await node.stop()
  return free
}
