import { spawn } from 'node:child_process'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { defaultDocument } from '../../../config/document.ts'
import { flagOptions, flagText } from '../../../config/flags.ts'
import { usageHint } from '../../../daemon/cli/serve.ts'

const bin = join(import.meta.dirname, '../../../daemon/cli/bin.ts')

interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the CLI as a process of its own, with no LAYERD_ variables but the given ones. */
async function layerd(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const child = spawn(process.execPath, [bin, ...args], {
    env: { PATH: process.env.PATH, HOME: '/home/test', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited])
  return { code, stdout, stderr }
}

/** What the admin address of a node answers, for the time of a test. */
async function admin<T>(listener: RequestListener, use: (address: string) => Promise<T>): Promise<T> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    return await use(`127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
}

test('--help names the commands and where options are, on one screen', async () => {
  const { code, stdout } = await layerd(['--help'])
  expect(code).toBe(0)
  expect(stdout.split('\n').length).toBeLessThanOrEqual(32)
  const managing = ['images', 'pull', 'pin', 'unpin', 'refresh', 'rm', 'gc', 'import', 'export']
  for (const part of ['serve', 'config', 'status', ...managing, 'version', 'config/default.yaml', 'LAYERD_']) {
    expect(stdout).toContain(part)
  }
})

test.each(['images', 'pull', 'pin', 'unpin', 'refresh', 'rm', 'gc', 'import', 'export'])(
  '%s --help has --json, an example and the exit codes; without a node it exits with 1 and says so',
  async (name) => {
    const { stdout } = await layerd([name, '--help'])
    for (const part of ['--json', '--data-dir', `layerd ${name}`, 'Exit codes: 0']) expect(stdout).toContain(part)
    const args = { images: [], gc: [], import: [bin], export: ['app', '-'] }[name] ?? ['app']
    const { code, stderr } = await layerd([name, ...args, '--data-dir', '/nonexistent'])
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/^layerd: no node runs with this data folder: .*"layerd serve" starts one/),
    ])
  },
)

test('serve --help has every flag, and defaults', async () => {
  const { code, stdout } = await layerd(['serve', '--help'])
  expect(code).toBe(0)
  for (const flag of flagOptions) expect(stdout).toContain(flagText(flag))
  for (const part of ['--config', '127.0.0.1:5050', '50 GiB', 'config/default.yaml', 'LAYERD_']) {
    expect(stdout).toContain(part)
  }
})

test('version and --version', async () => {
  const { version } = (await import('../../../package.json', { with: { type: 'json' } })).default
  expect(await layerd(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  const { code, stdout } = await layerd(['version'])
  expect(code).toBe(0)
  expect(stdout).toContain(`layerd ${version} (Node.js ${process.versions.node}`)
})

test.each([
  ['no command', [], /Usage: layerd/],
  ['an unknown command', ['sreve'], /unknown command 'sreve'[\s\S]*serve/],
  ['an unknown flag', ['serve', '--lisen', 'x'], /unknown option '--lisen'[\s\S]*--listen/],
  ['a flag without its value', ['serve', '--listen'], /argument missing/],
  ['an argument too many', ['config', 'extra'], /too many arguments/],
  ['a wrong value', ['serve', '--listen', 'here'], /--listen: registry.listen: expected host:port/],
  ['a file that is not there', ['serve', '--config', '/no/such'], /\/no\/such: there is no such file/],
] as const)('%s exits with 2 and says why', async (_what, args, expected) => {
  const { code, stdout, stderr } = await layerd(args)
  expect(code).toBe(2)
  expect(stdout).toBe('')
  expect(stderr).toMatch(expected)
  expect(stderr).not.toMatch(/\n\s+at /)
})

test('config prints the effective configuration with secrets hidden', async () => {
  const { code, stdout } = await layerd(['config', '--no-mdns', '--seed', 'a.b:1', '--seed', 'c.d:2'], {
    LAYERD_REGISTRIES: 'a.b=http://c',
    LAYERD_REGISTRIES_A_B_USERNAME: 'me',
    LAYERD_REGISTRIES_A_B_PASSWORD: 'hunter2',
  })
  expect(code).toBe(0)
  expect(stdout).not.toContain('hunter2')
  expect(parse(stdout)).toMatchObject({
    dataDir: '/home/test/.local/share/layerd',
    swarm: { mdns: false, seeds: ['a.b:1', 'c.d:2'] },
    registries: { 'a.b': { endpoint: 'http://c', username: 'me', password: '***' } },
  })
})

test('mDNS stays as configured where --no-mdns is absent', async () => {
  const { stdout } = await layerd(['config'], { LAYERD_SWARM_MDNS: 'false' })
  expect(parse(stdout).swarm.mdns).toBe(false)
})

test('config --defaults prints config/default.yaml, whatever is configured', async () => {
  const { code, stdout } = await layerd(['config', '--defaults'], { LAYERD_LOG_LEVEL: 'wrong' })
  expect({ code, stdout }).toEqual({ code: 0, stdout: defaultDocument() })
})

const status = {
  version: '0.1.0',
  peerId: '12D3KooWA',
  multiaddrs: ['/ip4/10.0.0.1/tcp/4050/p2p/12D3KooWA'],
  transfer: '0.0.0.0:4051',
  peers: [{ peerId: '12D3KooWB', address: '/ip4/10.0.0.2/tcp/4050', transfer: true, rttMs: 0.42 }],
  banned: [{ peerId: '12D3KooWC', until: 1_800_000_000_000, reason: 'wrong bytes' }],
  store: { bytes: 3 * 2 ** 29, maxBytes: 50 * 2 ** 30, blobs: 12 },
  counters: { fetchedBytes: { upstream: 100, peer: 2 ** 21 }, servedBytes: { client: 0, peer: 1536 } },
  uptimeSeconds: 93_784,
}

test('status says how the disk is doing', async () => {
  const disk = { freeBytes: 2 ** 30, minFreeBytes: 2 ** 31, isShort: true, evictedBlobs: 3, evictedBytes: 3 * 2 ** 20 }
  const lastUncached = { digest: 'sha256:a', reason: 'disk', message: 'no room', at: 1_800_000_000_000 }
  const uncachedBlobs = { disk: 2, quota: 1, error: 0 }
  const store = { ...status.store, ...disk, uncachedBlobs, lastUncached, problem: 'the data directory was removed' }
  const listener: RequestListener = (_, response) => response.end(JSON.stringify({ ...status, store }))
  await admin(listener, async (address) => {
    const { stdout } = await layerd(['status', '--admin', address])
    expect(stdout.split('\n').slice(5, 9)).toEqual([
      'disk       1.0 GiB free, 2.0 GiB are to stay free; 3 blobs evicted (3.0 MiB)',
      'problem    others fill the disk, and nothing is left to evict',
      'problem    the data directory was removed',
      'not kept   3 blobs, the last at 2027-01-15T08:00:00.000Z: no room',
    ])
  })
})

test('status says which seeds answer, and where peers are reached', async () => {
  const seeds = [
    { seed: 'a:1', reached: true, isSelf: false },
    { seed: 'b:1', reached: false, isSelf: false, problem: 'refused' },
    { seed: 'c:1', reached: false, isSelf: true },
    { seed: 'd:1', reached: false, isSelf: false },
  ]
  const peers = [{ ...status.peers[0], transferAddress: '203.0.113.7:14051' }]
  const answer = { ...status, seeds, peers, transferAnnounce: ['203.0.113.9:14051'] }
  const listener: RequestListener = (_, response) => response.end(JSON.stringify(answer))
  await admin(listener, async (address) => {
    const { stdout } = await layerd(['status', '--admin', address])
    expect(stdout.split('\n').slice(3, 9)).toEqual([
      'transfer   0.0.0.0:4051',
      'announced  203.0.113.9:14051',
      'seed       a:1, answers',
      'seed       b:1, is not reached: refused',
      'seed       c:1, is this node itself',
      'seed       d:1, is not reached yet',
    ])
    expect(stdout).toContain('/ip4/10.0.0.2/tcp/4050, 0.4 ms, transfer at 203.0.113.7:14051\n')
  })
})

test('status says whose pushes are in conflict, and what is offered', async () => {
  const offers = Array.from({ length: 12 }, (_, index) => ({
    name: `app:${index}`,
    publisher: '12D3KooWB',
    fingerprint: '1234-5678',
  }))
  const used = { publisher: '12D3KooWA', digest: 'sha256:a', at: 0 }
  const others = [{ publisher: '12D3KooWB', digest: 'sha256:b', at: 0 }]
  const names = { fingerprint: '7718-4122', names: 3, conflicts: [{ name: 'app:1', used, others }], offers }
  const listener: RequestListener = (_, response) => response.end(JSON.stringify({ ...status, names }))
  await admin(listener, async (address) => {
    const { stdout } = await layerd(['status', '--admin', address])
    expect(stdout.split('\n').slice(2, 7)).toEqual([
      '           7718-4122 (fingerprint, for "layerd trust" on other nodes)',
      'problem    app:1 was pushed at once as sha256:a by 12D3KooWA, which is used, and sha256:b by 12D3KooWB',
      'names      3 of pushed images',
      'offered    by peers that are not accepted ("layerd trust")',
      '  app:0  by 12D3KooWB (1234-5678)',
    ])
    expect(stdout).toContain('  app:9  by 12D3KooWB (1234-5678)\n  and 2 more\n')
  })
})

test.each([
  ['nobody named', ['trust'], 2, /give a peer, or --list/],
  ['both', ['trust', 'x', '--list'], 2, /give a peer, or --list/],
  ['nobody to take it back from', ['untrust'], 2, /missing required argument 'peer'/],
  ['no node', ['trust', 'x', '--data-dir', '/nonexistent'], 1, /no node runs with this data folder/],
])('trust with %s exits with a code that says so', async (_what, words, expected, text) => {
  const { code, stderr } = await layerd(words)
  expect(code).toBe(expected)
  expect(stderr).toMatch(text)
})

const answers: RequestListener = (request, response) => {
  response.statusCode = request.url === '/api/v1/status' ? 200 : 404
  response.end(JSON.stringify(status))
}

test('status prints a summary, and JSON if asked', async () => {
  await admin(answers, async (address) => {
    const { code, stdout } = await layerd(['status'], { LAYERD_ADMIN_LISTEN: address })
    expect(code).toBe(0)
    expect(stdout.split('\n')).toEqual([
      'layerd 0.1.0, up 1d 2h',
      'PeerId     12D3KooWA',
      'address    /ip4/10.0.0.1/tcp/4050/p2p/12D3KooWA',
      'transfer   0.0.0.0:4051',
      'store      12 blobs, 1.5 GiB of 50 GiB (3 %)',
      'fetched    100 B from upstream, 2.0 MiB from peers',
      'served     0 B to clients, 1.5 KiB to peers',
      'peers      1',
      '  12D3KooWB  /ip4/10.0.0.2/tcp/4050, 0.4 ms',
      'banned     1',
      '  12D3KooWC  until 2027-01-15T08:00:00.000Z: wrong bytes',
      '',
    ])
    const json = await layerd(['status', '--admin', address, '--json'], { LAYERD_LOG_LEVEL: 'wrong' })
    expect({ code: json.code, answer: JSON.parse(json.stdout) }).toEqual({ code: 0, answer: status })
  })
})

test.each([
  [
    'another server',
    ((_, response) => response.writeHead(404).end()) as RequestListener,
    /answers 404: is it the admin/,
  ],
  ['no JSON', ((_, response) => response.end('<html>')) as RequestListener, /does not answer in JSON/],
  [
    'another form',
    ((_, response) => response.end('{}')) as RequestListener,
    /in a form that this version does not know/,
  ],
] as const)('status at %s exits with 1 and says so', async (_what, listener, expected) => {
  const { code, stderr } = await admin(listener, (address) => layerd(['status', '--admin', address]))
  expect(code).toBe(1)
  expect(stderr).toMatch(expected)
})

test('status where nothing listens exits with 1 and says so', async () => {
  const address = await admin(answers, async (taken) => taken)
  const { code, stderr } = await layerd(['status', '--admin', address])
  expect(code).toBe(1)
  expect(stderr).toBe(
    `layerd: no node runs on ${address} (nothing listens there). "layerd serve" starts one; --admin asks another address\n`,
  )
})

test('status asks on ports that browsers refuse, as a node can listen there', async () => {
  const { stderr } = await layerd(['status', '--admin', '127.0.0.2:6666'])
  expect(stderr).toContain('no node runs on 127.0.0.2:6666 (nothing listens there)')
})

test('the hint for clients names an address that they can reach', () => {
  expect(usageHint('0.0.0.0:5050')).toContain('docker pull 127.0.0.1:5050/docker.io/library/alpine')
  expect(usageHint('[::]:1').split('\n')).toHaveLength(4)
  expect(usageHint('[::1]:1')).toContain('"http://[::1]:1"')
})
