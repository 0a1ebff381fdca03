import { chmod, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { parse } from 'smol-toml'
import { describe, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { run } from '../../../daemon/cli/program.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const documented = join(import.meta.dirname, '../../fixtures/client-files')
const mirror = '127.0.0.1:5050'
const url = `http://${mirror}`

interface Outcome {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** A machine with these files, and `layerd setup` on it. */
async function machine(files: Readonly<Record<string, string>>) {
  const root = await tempDir()
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), text)
  }
  const read = (path: string) => readFile(join(root, path), 'utf8')
  return {
    root,
    read,
    setup: (...args: string[]) => layerd('setup', ...args, '--root', root),
    /** Every file but what is kept for undoing, with its bytes. */
    all: async () => {
      const found: Record<string, string> = {}
      for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath, entry.name).slice(root.length)
        if (path.startsWith('/var')) continue
        if (entry.isFile()) found[path] = await read(path)
        else if (entry.isDirectory()) found[`${path}/`] = ''
      }
      return found
    },
  }
}

async function layerd(...args: string[]): Promise<Outcome> {
  const written = { out: '', err: '' }
  const { stdout, stderr } = process
  const [out, err] = [stdout.write, stderr.write]
  const listeners = stdout.listeners('error')
  stdout.write = (text: unknown) => {
    written.out += String(text)
    return true
  }
  stderr.write = (text: unknown) => {
    written.err += String(text)
    return true
  }
  try {
    return { code: await run(args), ...written }
  } finally {
    stdout.write = out
    stderr.write = err
    for (const listener of stdout.listeners('error') as (() => void)[])
      if (!listeners.includes(listener)) stdout.off('error', listener)
  }
}

const oldContainerd = `# ours
version = 2
[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.8" # keep
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = true
`

const scenes: readonly {
  readonly name: string
  readonly client: string
  readonly files: Readonly<Record<string, string>>
  readonly args?: readonly string[]
  readonly after: (read: (path: string) => Promise<string>) => Promise<void>
}[] = [
  {
    name: 'containerd that was never configured',
    client: 'containerd',
    files: { '/etc/hosts': '' },
    after: async (read) => {
      const config = parse(await read('/etc/containerd/config.toml'))
      expect(config).toEqual({
        version: 2,
        plugins: { 'io.containerd.grpc.v1.cri': { registry: { config_path: '/etc/containerd/certs.d' } } },
      })
      const hosts = parse(await read('/etc/containerd/certs.d/_default/hosts.toml'))
      expect(hosts).toEqual({ host: { [url]: { capabilities: ['pull', 'resolve'] } } })
    },
  },
  ...['1.6', '2'].map((version) => ({
    name: `containerd ${version} with its whole default configuration`,
    client: 'containerd',
    files: { '/etc/containerd/config.toml': version },
    after: async (read: (path: string) => Promise<string>) => {
      const text = await read('/etc/containerd/config.toml')
      const before = await readFile(join(documented, `containerd-${version}.toml`), 'utf8')
      const changed = text.split('\n').filter((line, index) => line !== before.split('\n')[index])
      expect(changed.map((line) => line.trim())).toEqual(['config_path = "/etc/containerd/certs.d"'])
    },
  })),
  {
    name: 'containerd with comments and options of others',
    client: 'containerd',
    files: { '/etc/containerd/config.toml': oldContainerd },
    after: async (read) => {
      const text = await read('/etc/containerd/config.toml')
      expect(text.startsWith(oldContainerd)).toBe(true)
      expect(text).toContain('config_path = "/etc/containerd/certs.d"')
    },
  },
  {
    name: 'containerd in the first version of its file',
    client: 'containerd',
    files: { '/etc/containerd/config.toml': '[plugins.cri.registry]\n  # mine\n' },
    after: async (read) =>
      expect(await read('/etc/containerd/config.toml')).toBe(
        '[plugins.cri.registry]\n  config_path = "/etc/containerd/certs.d"\n  # mine\n',
      ),
  },
  {
    name: 'containerd whose registries have settings already',
    client: 'containerd',
    files: {
      '/etc/containerd/config.toml':
        'version = 3\n[plugins."io.containerd.cri.v1.images".registry]\nconfig_path = "/srv/certs:/etc/x"\n',
      '/srv/certs/quay.io/hosts.toml':
        'server = "https://quay.io" # mine\n\n[host."http://cache:5000"]\n  capabilities = ["pull"]\n',
      '/srv/certs/harbor.example/ca.crt': 'PEM',
    },
    after: async (read) => {
      const hosts = await read('/srv/certs/quay.io/hosts.toml')
      expect(hosts.startsWith('server = "https://quay.io" # mine\n\n# Added by')).toBe(true)
      // The order of hosts is the order in which they are asked.
      expect(Object.keys(parse(hosts).host as object)).toEqual([url, 'http://cache:5000'])
      expect(await read('/srv/certs/_default/hosts.toml')).toContain(url)
      await expect(read('/srv/certs/harbor.example/hosts.toml')).rejects.toThrow()
    },
  },
  {
    name: 'Docker with settings of its own',
    client: 'docker',
    files: {
      '/etc/docker/daemon.json': '{\n\t"log-driver": "journald",\n\t"registry-mirrors": ["https://mirror.gcr.io"]\n}\n',
    },
    after: async (read) => {
      const text = await read('/etc/docker/daemon.json')
      expect(JSON.parse(text)).toEqual({ 'log-driver': 'journald', 'registry-mirrors': [url, 'https://mirror.gcr.io'] })
      expect(text.startsWith('{\n\t"log-driver": "journald",\n\t"registry-mirrors"')).toBe(true)
    },
  },
  {
    name: 'Docker that was never configured',
    client: 'docker',
    files: { '/etc/hosts': '' },
    after: async (read) =>
      expect(JSON.parse(await read('/etc/docker/daemon.json'))).toEqual({ 'registry-mirrors': [url] }),
  },
  ...['podman', 'crio'].map((client) => ({
    name: `${client}, with what was said of a registry before`,
    client,
    files: {
      '/etc/containers/registries.conf':
        'unqualified-search-registries = ["docker.io"]\n[[registry]]\nprefix = "docker.io"\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "cache:5000"\n',
    },
    args: ['--registry', 'docker.io', '--registry', 'quay.io'],
    after: async (read: (path: string) => Promise<string>) => {
      const { registry } = parse(await read('/etc/containers/registries.conf.d/99-layerd.conf'))
      expect(registry).toEqual([
        {
          prefix: 'docker.io',
          location: 'docker.io',
          mirror: [{ location: `${mirror}/docker.io`, insecure: true }, { location: 'cache:5000' }],
        },
        { location: 'quay.io', mirror: [{ location: `${mirror}/quay.io`, insecure: true }] },
      ])
    },
  })),
  {
    name: 'k3s with mirrors, passwords and comments',
    client: 'k3s',
    files: {
      '/etc/rancher/k3s/registries.yaml':
        '# ours\nmirrors:\n  docker.io: # first\n    endpoint:\n      - "https://cache:5000"\n  ghcr.io:\n    endpoint: [ "https://x" ]\n    rewrite:\n      "(.*)": "y/$1"\nconfigs:\n  "cache:5000":\n    auth: { username: a, password: b }\n',
    },
    args: ['--registry', 'docker.io', '--registry', 'quay.io', '--registry', 'ghcr.io'],
    after: async (read) => {
      const text = await read('/etc/rancher/k3s/registries.yaml')
      expect(parseYaml(text)).toEqual({
        mirrors: {
          'docker.io': { endpoint: [url, 'https://cache:5000'] },
          'ghcr.io': { endpoint: ['https://x'], rewrite: { '(.*)': 'y/$1' } },
          'quay.io': { endpoint: [url] },
        },
        configs: { 'cache:5000': { auth: { username: 'a', password: 'b' } } },
      })
      for (const comment of ['# ours', '# first']) expect(text).toContain(comment)
    },
  },
]

describe.for(scenes)('$name', ({ client, files, args = [], after }) => {
  test('is set up once, says so the second time, and is as before after --undo', async () => {
    const texts = await Promise.all(
      Object.entries(files).map(async ([path, text]) => [
        path,
        /^[\d.]+$/.test(text) ? await readFile(join(documented, `containerd-${text}.toml`), 'utf8') : text,
      ]),
    )
    const { setup, read, all } = await machine(Object.fromEntries(texts))
    const before = await all()

    expect(await setup(client, ...args, '--dry-run')).toMatchObject({ code: 0, out: expect.stringContaining('\n+') })
    expect(await all()).toEqual(before)

    expect(await setup(client, ...args)).toMatchObject({ code: 0, out: expect.stringContaining('changed: ') })
    await after(read)
    const between = await all()
    const again = await setup(client, ...args)
    expect(again).toMatchObject({ code: 0, out: expect.stringContaining(`${client} is set up already`) })
    expect(await all()).toEqual(between)

    const undone = await setup(client, '--undo')
    expect(undone).toMatchObject({ code: 0, out: expect.stringContaining('changed: ') })
    expect(await all()).toEqual(before)
    expect(await setup(client, '--undo')).toMatchObject({ code: 0, out: expect.stringContaining('nothing of') })
  })
})

test('what others have changed since stays when it is undone', async () => {
  const path = '/etc/containerd/config.toml'
  const { root, setup, read } = await machine({ [path]: oldContainerd })
  await setup('containerd')
  const theirs = (text: string) => `oom_score = -999\n${text.replace('SystemdCgroup = true', 'SystemdCgroup = false')}`
  await writeFile(join(root, path), theirs(await read(path)))
  expect(await setup('containerd', '--undo')).toMatchObject({ code: 0 })
  expect(await read(path)).toBe(theirs(oldContainerd))
})

test('what others have changed in the mirror itself is theirs to undo', async () => {
  const path = '/etc/docker/daemon.json'
  const { root, setup, read, all } = await machine({ [path]: '{}\n' })
  await setup('docker')
  await writeFile(join(root, path), (await read(path)).replace('5050', '6060'))
  const before = await all()
  const { code, err } = await setup('docker', '--undo')
  expect({ code, err }).toMatchObject({ code: 1, err: expect.stringMatching(/by hand.*docker\.json, under "before"/) })
  expect(await all()).toEqual(before)
  // Set up again, it is added to what is there now.
  expect(await setup('docker')).toMatchObject({ code: 0 })
  expect(JSON.parse(await read(path))).toEqual({ 'registry-mirrors': [url, 'http://127.0.0.1:6060'] })
  await setup('docker', '--undo')
  expect(await all()).toEqual(before)
})

const refused: readonly (readonly [what: string, client: string, files: Record<string, string>, message: RegExp])[] = [
  [
    'mirrors that containerd does not take with config_path',
    'containerd',
    {
      '/etc/containerd/config.toml':
        'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]\nendpoint = ["x"]\n',
    },
    /registry\.mirrors.*not both.*hosts\.toml/,
  ],
  ['TOML that is none', 'containerd', { '/etc/containerd/config.toml': 'version = \n' }, /config\.toml:1: /],
  [
    'a table that is written inline',
    'containerd',
    { '/etc/containerd/config.toml': 'version = 2\nplugins = { "io.containerd.grpc.v1.cri" = { registry = {} } }\n' },
    /by hand: config_path/,
  ],
  [
    'a head of a table in a string',
    'containerd',
    { '/etc/containerd/config.toml': `version = 2\nx = '''\n[plugins."io.containerd.grpc.v1.cri".registry]\n'''\n` },
    /by hand: config_path/,
  ],
  ['JSON that is none', 'docker', { '/etc/docker/daemon.json': '{\n  "a": 1,\n}' }, /daemon\.json:3: /],
  [
    'a flag of dockerd that says the same',
    'docker',
    {
      '/etc/systemd/system/docker.service.d/x.conf':
        '[Service]\nExecStart=/usr/bin/dockerd --registry-mirror=http://x\n',
    },
    /x\.conf gives dockerd --registry-mirror/,
  ],
  [
    'the first version of registries.conf',
    'podman',
    { '/etc/containers/registries.conf': '[registries.search]\nregistries = ["docker.io"]\n' },
    /first version of its format/,
  ],
  ['YAML that is none', 'k3s', { '/etc/rancher/k3s/registries.yaml': 'mirrors: [\n' }, /registries\.yaml: /],
]

test('a file of others is not written over', async () => {
  const path = '/etc/containers/registries.conf'
  const { setup, all } = await machine({ [path]: 'unqualified-search-registries = []\n' })
  const before = await all()
  const { code, err } = await setup('podman', '--file', path)
  expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('not a file of this command') })
  expect(await all()).toEqual(before)
})

test('a link that begins at the root leads to the machine that is mounted', async () => {
  const { root, setup } = await machine({ '/srv/docker/daemon.json': '{}\n', '/etc/x': '' })
  await symlink('/srv/docker', join(root, '/etc/docker'))
  expect(await setup('docker')).toMatchObject({ code: 0 })
  expect(await readFile(join(root, '/srv/docker/daemon.json'), 'utf8')).toContain(url)
})

test('k3s: what was said of all registries holds for those that are named now', async () => {
  const path = '/etc/rancher/k3s/registries.yaml'
  const { setup, read } = await machine({ [path]: 'mirrors:\n  "*":\n    endpoint: ["https://inner:5000"]\n' })
  await setup('k3s', '--registry', 'docker.io')
  expect(parseYaml(await read(path))).toEqual({
    mirrors: { '*': { endpoint: ['https://inner:5000'] }, 'docker.io': { endpoint: [url, 'https://inner:5000'] } },
  })
})

test.for(refused)('%s is refused, and nothing is changed', async ([, client, files, message]) => {
  const { setup, all } = await machine(files)
  const before = await all()
  expect(await setup(client)).toMatchObject({ code: 1, err: expect.stringMatching(message) })
  expect(await all()).toEqual(before)
})

test('rights of a file, and a symbolic link to it, stay', async () => {
  const { root, setup } = await machine({ '/srv/daemon.json': '{}\n', '/etc/docker/x': '' })
  await chmod(join(root, '/srv/daemon.json'), 0o640)
  await symlink('../../srv/daemon.json', join(root, '/etc/docker/daemon.json'))
  expect(await setup('docker')).toMatchObject({ code: 0 })
  expect(await readFile(join(root, '/srv/daemon.json'), 'utf8')).toContain(url)
  expect((await stat(join(root, '/srv/daemon.json'))).mode & 0o777).toBe(0o640)
  expect((await stat(join(root, '/var/lib/layerd/setup/docker.json'))).mode & 0o777).toBe(0o600)
})

test('where the second file can not be written, the first is as before', async () => {
  const { setup, all } = await machine({
    '/etc/containerd/config.toml': 'version = 2\n',
    '/etc/containerd/certs.d': 'a file',
  })
  const before = await all()
  const { code, err } = await setup('containerd')
  expect(code).toBe(1)
  expect(err).toContain('certs.d')
  expect(await all()).toEqual(before)
})

test('a root that is not there is said', async () => {
  const { code, err } = await layerd('setup', 'docker', '--root', '/nowhere')
  expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining('/nowhere is no folder') })
})

test('a client that is not known is bad usage', async () => {
  expect(await layerd('setup', 'rkt')).toMatchObject({ code: 2, err: expect.stringContaining('containerd') })
})
