import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm, rmdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { debianTools, type Tools } from './debian.ts'
import { exitOf, run } from './exec.ts'

const PREFIX = 'layerd-e2e-'
const SCRIPT = join(import.meta.dirname, 'jail.sh')
const CGROUPS = '/sys/fs/cgroup'
/** A folder without a lock is younger than this while its owner is still starting, and abandoned afterwards. */
const START_GRACE_MS = 60_000

/** What a test inside the jail needs to know; `jail()` reads it from the environment. */
export interface Jail {
  tools: Tools
  /** An empty folder at first, on a file system that containers can use. */
  work: string
  /** The cgroup for containers, absolute in each hierarchy. It is removed with the jail. */
  cgroup: string
}

/** The jail that this process runs in, or `undefined` outside of one. */
export function jail(): Jail | undefined {
  return process.env.LAYERD_E2E_JAIL ? JSON.parse(process.env.LAYERD_E2E_JAIL) : undefined
}

/**
 * Ends a test that needs a jail and has none: as left out, with the reason, or as failed when CI is set.
 */
export function leaveOut(context: { skip(note?: string): never }): never {
  const reason = process.env.LAYERD_E2E_LEFT_OUT ?? 'they run by npm run test:e2e, inside a jail'
  if (process.env.CI) throw new Error(`the end-to-end tests must not be left out: ${reason}`)
  context.skip(reason)
}

/**
 * Runs a program with its own network (loopback only), processes and mounts, and removes whatever it leaves.
 *
 * The namespaces have no names: they end with their processes, and those are killed when this process ends,
 * however it ends. Only the work folder and empty cgroups can survive that; the next call sweeps them.
 *
 * @returns the program's exit code.
 */
export async function runJailed(tools: Tools, command: string, args: readonly string[]): Promise<number> {
  await sweep()
  const work = await mkdtemp(join(tmpdir(), PREFIX))
  const told: Jail = { tools, work: join(work, 'w'), cgroup: `/${basename(work)}` }
  // The lock is an open file that all processes of the jail inherit: it is free once the last one has gone.
  const steps = [
    ...['flock', '--nonblock', '--no-fork', join(work, 'lock')],
    ...['setpriv', '--pdeathsig', 'KILL'],
    ...['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...['sh', SCRIPT, join(tools.bookworm, 'bin/busybox'), told.work, join(tools.bookworm, '..')],
    ...[command, ...args],
  ]
  const env = { ...process.env, LAYERD_E2E_JAIL: JSON.stringify(told) }
  const [program = '', ...rest] = steps
  const { promise: cut, reject } = Promise.withResolvers<never>()
  const interrupt = (signal: NodeJS.Signals) => reject(new Error(`interrupted by ${signal}`))
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  try {
    await run('mkdir', [told.work])
    const child = spawn(program, rest, { env, stdio: 'inherit' })
    const ended = exitOf(child)
    try {
      const code = await Promise.race([ended, cut])
      return typeof code === 'number' ? code : 1
    } finally {
      child.kill('SIGKILL')
      await ended
    }
  } finally {
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt)
    await removeWork(work)
  }
}

/**
 * Why jailed tests cannot run on this machine, or the tools for them.
 *
 * Being root is not enough in many containers, so that a jail is tried.
 */
export async function prepare(log: (line: string) => void): Promise<{ tools: Tools } | { reason: string }> {
  if (process.platform !== 'linux') return { reason: 'they need Linux' }
  if (process.getuid?.() !== 0) return { reason: 'they need root, for namespaces and containers' }
  try {
    await run('dpkg', ['--print-architecture'])
    await run('apt-get', ['--version'])
  } catch {
    return { reason: 'they need Debian: the clients come from its packages' }
  }
  try {
    const tools = await debianTools(log)
    const code = await runJailed(tools, 'true', [])
    return code === 0 ? { tools } : { reason: `namespaces cannot be made here (see above, exit ${code})` }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    log(message)
    // The reason stands beside each test: the last line says most.
    return { reason: `preparing them failed: ${message.trimEnd().split('\n').at(-1)}` }
  }
}

/** Removes what runs that were killed have left, and nothing that a running one uses. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue
    const work = join(tmpdir(), name)
    const free = await run('flock', ['--nonblock', join(work, 'lock'), 'true']).then(
      () => true,
      () => false,
    )
    const age = Date.now() - (await stat(work).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs
    if (free && age > START_GRACE_MS) await removeWork(work)
  }
}

async function removeWork(work: string): Promise<void> {
  await rm(work, { recursive: true, force: true, maxRetries: 3 })
  const hierarchies = await readdir(CGROUPS).catch(() => [])
  for (const root of [CGROUPS, ...hierarchies.map((name) => join(CGROUPS, name))]) {
    await removeCgroup(join(root, basename(work)))
  }
}

/** A cgroup can only be removed after its children; its files cannot be removed at all. */
async function removeCgroup(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) if (entry.isDirectory()) await removeCgroup(join(folder, entry.name))
  await rmdir(folder).catch(() => {})
}
