import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { withoutNamespaces } from '../fixtures/ip.ts'
import { TestNetwork } from '../fixtures/namespaces.ts'
import { until } from '../fixtures/node.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

beforeEach(async (context) => {
  const reason = await withoutNamespaces()
  if (reason !== undefined) context.skip(reason)
})

const program = new URL('../../daemon/cli/bin.ts', import.meta.url).pathname

const statusUrl = 'http://127.0.0.1:5051/api/v1/status'

/** How soon nodes are to meet again is 10 s; the machine may be busy. Before, it took minutes. */
const MET_AGAIN_MS = 20_000

/** Two nodes, each on a host of its own; the second one has the first as its seed. */
async function setUp() {
  const network = await TestNetwork.create('a', 'b')
  onTestFinished(() => network[Symbol.asyncDispose]())
  const folder = await tempDir()
  await start(network, 'a', join(folder, 'a'), [])
  await start(network, 'b', join(folder, 'b'), ['--seed', '10.91.0.1:4050'])
  const peers = async (host: string) => ((await network.get(host, statusUrl)) as NodeStatus).peers
  /** Whether a node's only connection is one that stands at this address of its peer, and blobs can be fetched from it. */
  const sees = async (host: string, address: string) => {
    const found = await peers(host)
    return found.length === 1 && found.every((peer) => peer.transfer && peer.address.startsWith(`/ip4/${address}/`))
  }
  await until(async () => (await sees('a', '10.91.0.2')) && (await sees('b', '10.91.0.1')), 30_000)
  return { network, peers, sees }
}

async function start(network: TestNetwork, host: string, dataDir: string, flags: readonly string[]): Promise<void> {
  await mkdir(dataDir)
  const listen = ['--listen', '127.0.0.1:5050', '--admin', '127.0.0.1:5051']
  const swarm = ['--p2p-listen', '0.0.0.0:4050', '--transfer-listen', '0.0.0.0:4051', '--no-mdns']
  const serve = [process.execPath, program, 'serve', '--data-dir', dataDir, ...listen, ...swarm, ...flags]
  const [command = '', ...args] = [...network.on(host), ...serve]
  const child: ChildProcess = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  })
  const isUp = () =>
    network.get(host, statusUrl).then(
      () => true,
      () => false,
    )
  await until(isUp, 30_000)
}

it('meets its peers again when its address has changed', { timeout: 120_000 }, async () => {
  const { network, sees } = await setUp()
  await network.move('b', '10.91.0.2', '10.91.0.7')
  await until(async () => (await sees('a', '10.91.0.7')) && (await sees('b', '10.91.0.1')), MET_AGAIN_MS)
})

it('meets a seed again whose address is back after a while', { timeout: 120_000 }, async () => {
  const { network, sees, peers } = await setUp()
  await network.move('a', '10.91.0.1', '10.91.0.8')
  // The seed dials from its new address by itself.
  await until(async () => (await sees('b', '10.91.0.8')) && (await peers('a')).length === 1, MET_AGAIN_MS)
  await network.move('a', '10.91.0.8', '10.91.0.1')
  await until(async () => (await sees('b', '10.91.0.1')) && (await peers('a')).length === 1, MET_AGAIN_MS)
})

it('ends connections with peers that are out of reach, without a word from the system, and meets them again', {
  timeout: 240_000,
}, async () => {
  const { network, sees, peers } = await setUp()
  await network.cut('b')
  await until(async () => (await peers('a')).length === 0 && (await peers('b')).length === 0, 90_000)
  await network.join('b')
  await until(async () => (await sees('a', '10.91.0.2')) && (await sees('b', '10.91.0.1')), MET_AGAIN_MS)
  expect(await peers('a')).toHaveLength(1)
})
