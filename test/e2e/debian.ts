import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { run } from './exec.ts'

/** Debian's keys for its releases; every Debian machine has them, and apt accepts nothing that they have not signed. */
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const DEFAULT_MIRROR = 'http://deb.debian.org/debian'
/** A slow mirror may take minutes for 200 MB of packages. */
const FETCH_DEADLINE_MS = 10 * 60_000

type Suite = 'bookworm' | 'forky'

/** What the tests need. bookworm has the old generation of clients, forky the new; no client is installed. */
const PACKAGES: Readonly<Record<Suite, readonly string[]>> = {
  bookworm: [
    ...['docker-registry', 'nginx', 'busybox-static', 'patchelf'],
    ...['docker.io', 'containerd', 'runc', 'podman', 'buildah', 'skopeo', 'conmon'],
    // Shared libraries that a small Debian machine lacks.
    ...['libdevmapper1.02.1', 'libgpgme11', 'libassuan0', 'libsubid4', 'libseccomp2', 'libglib2.0-0', 'libudev1'],
    // For the bench of a fleet: a shaped network, and BitTorrent to compare with.
    ...['iproute2', 'libbpf1', 'libelf1', 'libmnl0', 'libbsd0', 'libmd0', 'libcap2', 'libxtables12'],
    ...['aria2', 'libaria2-0', 'libc-ares2', 'libssh2-1', 'libxml2', 'libicu72', 'libsqlite3-0'],
  ],
  forky: [
    ...['docker.io', 'docker-cli', 'containerd', 'oras', 'crane'],
    'golang-github-kubernetes-cri-api-dev', // the kubelet's protocol, as a .proto file
  ],
}

/** A browser for the tests of web pages, with all that it depends on: it runs in a root of its own. */
const BROWSER = 'chromium-headless-shell'
const BROWSER_SUITE: Suite = 'bookworm'

/** Programs that look for shared libraries which only the cache holds. The new generation's programs need none. */
const LINKED = [
  ...['podman', 'buildah', 'skopeo', 'conmon', '../sbin/runc', '../sbin/dockerd'],
  ...['aria2c', '../../bin/ip', '../../sbin/tc'],
]
const CRI_PROTO = 'usr/share/gocode/src/k8s.io/cri-api/pkg/apis/runtime/v1/api.proto'
/** Raised when the steps below change, so that an older cache is not taken for a complete one. */
const RECIPE = 1

/** Folders of unpacked Debian packages. */
export interface Tools {
  /** Root of Debian 12's packages: Docker 20.10, containerd 1.6, podman, buildah, skopeo, runc, docker-registry, aria2. */
  bookworm: string
  /** Root of the newest packages: Docker 28, containerd 2, oras, crane. */
  forky: string
  /** Root of a system that holds Chromium, for `chroot`. `proc`, `dev` and `tmp` in it are empty. */
  browser: string
  /** Absolute path of the CRI's api.proto, readable without its Go extensions. */
  criProto: string
}

/** Where unpacked packages are kept between runs: `LAYERD_E2E_CACHE`, or `layerd-e2e` in the user's cache folder. */
export function cacheFolder(env: NodeJS.ProcessEnv = process.env): string {
  return resolve(env.LAYERD_E2E_CACHE ?? join(env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'layerd-e2e'))
}

/**
 * Gives the clients and the registry that the tests run, fetched from Debian at first use. Nothing is installed.
 *
 * Any number of processes may call this at once. A folder with the final name is always complete.
 *
 * @throws Error when apt cannot fetch or verify the packages.
 */
export async function debianTools(log: (line: string) => void = () => {}): Promise<Tools> {
  const cache = cacheFolder()
  const wanted = createHash('sha256').update(JSON.stringify({ PACKAGES, BROWSER, LINKED, RECIPE, arch: process.arch }))
  const folder = join(cache, wanted.digest('hex').slice(0, 16))
  await mkdir(cache, { recursive: true })
  if (!existsSync(folder)) {
    const unlock = await lock(join(cache, 'lock'))
    try {
      if (!existsSync(folder)) await fetchPackages(cache, folder, log)
    } finally {
      unlock()
    }
  }
  return toolsIn(folder)
}

function toolsIn(folder: string): Tools {
  const forky = join(folder, 'forky')
  return {
    bookworm: join(folder, 'bookworm'),
    forky,
    browser: join(folder, 'browser'),
    criProto: join(forky, CRI_PROTO),
  }
}

async function fetchPackages(cache: string, folder: string, log: (line: string) => void): Promise<void> {
  const started = Date.now()
  const partial = `${folder}.partial`
  for (const name of await readdir(cache)) {
    // Under the lock, whatever is neither the lock nor complete is left over from a fetch that was cut off.
    if (name.endsWith('.partial')) await rm(join(cache, name), { recursive: true, force: true })
  }
  const mirror = await debianMirror()
  log(`fetching the test clients from ${mirror} into ${folder} (once)`)
  const versions: string[] = []
  const apt = await aptConfiguration(join(partial, 'apt'), mirror)
  await run('apt-get', [...apt, 'update'], { deadlineMs: FETCH_DEADLINE_MS })
  for (const [suite, names] of Object.entries(PACKAGES)) {
    const debs = join(partial, 'debs', suite)
    await mkdir(debs, { recursive: true })
    const exact = names.map((name) => `${name}/${suite}`)
    await run('apt-get', [...apt, 'download', ...exact], { cwd: debs, deadlineMs: FETCH_DEADLINE_MS })
    const files = await readdir(debs)
    await eachAtOnce(files, (file) => run('dpkg', ['-x', join(debs, file), join(partial, suite)]).then(() => {}))
    versions.push(...files.map((file) => `${suite}/${file}`))
  }
  versions.push(...(await fetchBrowser(apt, join(partial, 'apt'), toolsIn(partial).browser)))
  await useOwnLibraries(join(partial, 'bookworm'), join(folder, 'bookworm'))
  await dropGoExtensions(toolsIn(partial).criProto)
  await rm(join(partial, 'debs'), { recursive: true })
  await rm(join(partial, 'apt'), { recursive: true })
  await writeFile(join(partial, 'manifest.json'), `${JSON.stringify({ mirror, versions: versions.sort() }, null, 2)}\n`)
  await rename(partial, folder)
  log(`fetched ${versions.length} packages in ${((Date.now() - started) / 1000).toFixed(1)} s`)
}

/** Fetches the browser with its dependencies, as on a machine that has nothing at all. Gives the names of the files. */
async function fetchBrowser(apt: readonly string[], aptFolder: string, root: string): Promise<string[]> {
  const archives = join(aptFolder, 'cache/archives')
  await mkdir(join(archives, 'partial'), { recursive: true })
  const install = ['install', '--download-only', '--yes', '--no-install-recommends', '--target-release', BROWSER_SUITE]
  await run('apt-get', [...apt, ...install, BROWSER], { deadlineMs: FETCH_DEADLINE_MS })
  const files = (await readdir(archives)).filter((name) => name.endsWith('.deb'))
  for (const file of files) await run('dpkg', ['-x', join(archives, file), root])
  for (const folder of ['proc', 'dev', 'tmp']) await mkdir(join(root, folder), { recursive: true })
  return files.map((file) => `browser/${file}`)
}

/** apt with lists, cache and state of its own: the machine's are neither read nor changed. */
async function aptConfiguration(folder: string, mirror: string): Promise<string[]> {
  await mkdir(join(folder, 'lists/partial'), { recursive: true })
  await mkdir(join(folder, 'cache/archives/partial'), { recursive: true })
  const source = (suite: string) => `deb [signed-by=${KEYRING}] ${mirror} ${suite} main\n`
  await writeFile(join(folder, 'sources.list'), Object.keys(PACKAGES).map(source).join(''))
  await writeFile(join(folder, 'status'), '')
  const options = {
    'Dir::Etc::sourcelist': join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Sandbox::User': 'root', // apt's own user may not enter the caller's cache folder
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  }
  return ['-qq', ...Object.entries(options).flatMap(([key, value]) => ['-o', `${key}=${value}`])]
}

/** The Debian mirror that this machine already uses, in either form of apt's sources. */
export async function debianMirror(etc = '/etc/apt'): Promise<string> {
  const parts = await readdir(join(etc, 'sources.list.d')).catch(() => [])
  const files = [join(etc, 'sources.list'), ...parts.map((name) => join(etc, 'sources.list.d', name))]
  for (const file of files) {
    for (const line of (await readFile(file, 'utf8').catch(() => '')).split('\n')) {
      const uris = /^URIs:\s*(.+)$/.exec(line)?.[1] ?? /^deb\s+(?:\[[^\]]*\]\s+)?(\S+)/.exec(line)?.[1] ?? ''
      // Third parties and the security archive have other folder names.
      const mirror = uris.split(/\s+/).find((uri) => /^https?:\/\/.*\/debian\/?$/.test(uri))
      if (mirror) return mirror.replace(/\/$/, '')
    }
  }
  return DEFAULT_MIRROR
}

/** Names the cache's libraries in the programs themselves: LD_LIBRARY_PATH would not reach their children. */
async function useOwnLibraries(root: string, finalRoot: string): Promise<void> {
  const multiarch = (await readdir(join(root, 'usr/lib'))).find((name) => name.endsWith('-linux-gnu'))
  const folders = [`usr/lib/${multiarch}`, `lib/${multiarch}`].map((folder) => join(finalRoot, folder))
  const patch = (name: string) =>
    run(join(root, 'usr/bin/patchelf'), [
      '--force-rpath',
      '--set-rpath',
      folders.join(':'),
      join(root, 'usr/bin', name),
    ])
  await eachAtOnce(LINKED, (name) => patch(name).then(() => {}))
}

/** The extensions are Go's own, and their definitions are in another package. */
async function dropGoExtensions(proto: string): Promise<void> {
  const lines = (await readFile(proto, 'utf8')).split('\n')
  await writeFile(proto, lines.filter((line) => !line.includes('gogoproto')).join('\n'))
}

async function eachAtOnce<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items]
  const worker = async () => {
    for (let item = rest.pop(); item !== undefined; item = rest.pop()) await work(item)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
}

/** Takes a lock that the kernel gives back when this process ends, however it ends. Gives the function that unlocks. */
function lock(file: string): Promise<() => void> {
  const wait = String(FETCH_DEADLINE_MS / 1000)
  const child = spawn('flock', ['--exclusive', '--wait', wait, file, 'sh', '-c', 'echo locked; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`${file}: still locked after ${wait} s`)))
    child.stdout.once('data', () => resolve(() => child.stdin.end()))
  })
}
