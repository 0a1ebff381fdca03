import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FakeUpstream } from './fixtures/fake-upstream.ts'

// npm run dev [-- REGISTRY_URL]: two nodes on loopback, the second a peer of the first, with docker.io at REGISTRY_URL
// or, without one, at a fake registry that holds library/hello:latest. Ctrl-C ends all of it.

const program = join(import.meta.dirname, '../daemon/cli/bin.ts')
const folder = await mkdtemp(join(tmpdir(), 'layerd-dev-'))
const fake = process.argv[2] === undefined ? await FakeUpstream.start() : undefined
const endpoint = process.argv[2] ?? fake?.url

if (fake !== undefined) {
  const config = fake.addBlob(Buffer.from('{}'))
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const image = {
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: config, size: 2 },
    layers: [],
  }
  fake.tag('library/hello', 'latest', fake.addManifest(image))
}

function startNode(name: string, port: number, seeds: readonly string[]) {
  const address = (offset: number) => `127.0.0.1:${port + offset}`
  const flags = [
    '--listen',
    address(0),
    '--admin',
    address(1),
    '--p2p-listen',
    address(2),
    '--transfer-listen',
    address(3),
  ]
  const args = [
    program,
    'serve',
    '--no-mdns',
    '--data-dir',
    join(folder, name),
    '--registry',
    `docker.io=${endpoint}`,
    ...flags,
  ]
  // What the registry gives without a login goes from node to node.
  const env = { LAYERD_REPOSITORIES_PUBLIC: 'docker.io/**', ...process.env }
  return spawn(process.execPath, [...args, ...seeds.flatMap((seed) => ['--seed', seed])], { env, stdio: 'inherit' })
}

const nodes = [startNode('a', 5050, []), startNode('b', 5060, ['127.0.0.1:5052'])]
console.log(`upstream ${endpoint}
node a   http://127.0.0.1:5050   admin http://127.0.0.1:5051
node b   http://127.0.0.1:5060   admin http://127.0.0.1:5061
try      curl -i http://127.0.0.1:5050/v2/library/hello/manifests/latest`)

// Ctrl-C reaches the nodes as well; this process only waits for them.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
await Promise.all(nodes.map((node) => new Promise((resolve) => node.once('exit', resolve))))
await fake?.close()
await rm(folder, { recursive: true, force: true })
