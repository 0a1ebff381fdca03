import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Daemon, exitOf, freePort } from './exec.ts'

/** A start takes a second; on a machine that does much else, a while. */
const START_DEADLINE_MS = 60_000

const USAGE = `npm run conformance -- PROGRAM [address]
Runs a build of the public conformance suite (github.com/opencontainers/distribution-spec, folder conformance) against a node
that this starts, with an empty store and an upstream that is away. PROGRAM is one of these, built by Go 1.24 or newer:

  go install github.com/opencontainers/distribution-spec/conformance@main     # the newest: ~/go/bin/conformance
  git clone --branch v1.1.1 https://github.com/opencontainers/distribution-spec
  cd distribution-spec/conformance && go test -c                              # 1.1.1: ./conformance.test

address is the host that the suite names: localhost (default) or 127.0.0.1.`

/** The environment of both: each reads its own variables. */
function settings(address: string, results: string): NodeJS.ProcessEnv {
  return {
    // The newest, with all that the next version of the specification adds.
    OCI_REGISTRY: address,
    OCI_TLS: 'disabled',
    OCI_VERSION: 'dev',
    OCI_REPO1: 'conformance/repo1',
    OCI_REPO2: 'conformance/repo2',
    OCI_RESULTS_DIR: results,
    // 1.1.1.
    OCI_ROOT_URL: `http://${address}`,
    OCI_NAMESPACE: 'conformance/repo1',
    OCI_CROSSMOUNT_NAMESPACE: 'conformance/repo2',
    OCI_TEST_PULL: '1',
    OCI_TEST_PUSH: '1',
    OCI_TEST_CONTENT_DISCOVERY: '1',
    OCI_TEST_CONTENT_MANAGEMENT: '1',
    OCI_AUTOMATIC_CROSSMOUNT: '1',
    OCI_HIDE_SKIPPED_WORKFLOWS: '0',
    OCI_REPORT_DIR: results,
  }
}

async function main(program: string, host: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'layerd-conformance-'))
  const [registry, admin, p2p, transfer] = [await freePort(), await freePort(), await freePort(), await freePort()]
  const flags = [
    ...['--data-dir', join(folder, 'data'), '--no-mdns', '--registry', 'docker.io=http://127.0.0.1:1'],
    ...['--listen', `127.0.0.1:${registry}`, '--admin', `127.0.0.1:${admin}`],
    ...['--p2p-listen', `127.0.0.1:${p2p}`, '--transfer-listen', `127.0.0.1:${transfer}`],
  ]
  const bin = join(import.meta.dirname, '../../daemon/cli/bin.ts')
  const node = new Daemon('layerd', join(folder, 'log'), process.execPath, [bin, 'serve', ...flags])
  try {
    await node.ready(async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok || undefined, START_DEADLINE_MS)
    const env = { ...process.env, ...settings(`${host}:${registry}`, folder) }
    const code = await exitOf(spawn(program, [], { env, cwd: folder, stdio: 'inherit' }))
    // The suite says what it asked for; the node, why it answered as it did.
    if (code !== 0) process.stderr.write(await node.log())
    return typeof code === 'number' ? code : 1
  } finally {
    await node.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

const [program, host = 'localhost'] = process.argv.slice(2)
if (program === undefined || program.startsWith('-')) process.stdout.write(`${USAGE}\n`)
else process.exitCode = await main(resolve(process.env.INIT_CWD ?? '', program), host)
