import { join, resolve } from 'node:path'
import { Argument, Command } from 'commander'
import { createTwoFilesPatch } from 'diff'
import { homeFolder } from '../../config/layer.ts'
import { parseAddress } from '../../config/scalars.ts'
import { formatAddress } from '../../config/units.ts'
import { Failure } from './failure.ts'
import { configOf } from './flags.ts'
import { reachable } from './reachable.ts'
import type { Client } from './setup/client.ts'
import { containerd } from './setup/containerd.ts'
import { MachineDisk } from './setup/disk.ts'
import { docker } from './setup/docker.ts'
import { type Restored, SetupJournal } from './setup/journal.ts'
import { k3s } from './setup/k3s.ts'
import { crio, podman } from './setup/podman.ts'

const clients = { containerd, docker, podman, crio, k3s } satisfies Readonly<Record<string, Client>>

type ClientName = keyof typeof clients

interface SetupFlags {
  readonly config?: string
  readonly mirror?: string
  readonly registry?: readonly string[]
  readonly file?: string
  readonly root: string
  readonly state?: string
  readonly dryRun?: true
  readonly undo?: true
  readonly json?: true
}

/** What was done, or would be. */
interface Report {
  readonly client: string
  readonly changed: readonly { readonly path: string; readonly diff: string }[]
  readonly restart: readonly string[]
  readonly notes: readonly string[]
}

const help = `
Clients:
${Object.entries(clients)
  .map(([name, { about }]) => `  ${name.padEnd(11)} ${about}`)
  .join('\n')}

Shows each change as a diff, and keeps everything else in the files. --undo takes the changes back byte for byte, from
what is kept in /var/lib/layerd/setup. Exit codes: 0 done or nothing to do, 1 could not be done (nothing was changed),
2 bad usage.

Example: sudo layerd setup containerd --dry-run`

export function setupCommand(): Command {
  return new Command('setup')
    .description("point a container client's mirrors at the node")
    .addArgument(new Argument('<client>', 'The client.').choices(Object.keys(clients)))
    .option('--dry-run', 'Show what would be changed, and change nothing.')
    .option('--undo', 'Take back what this command has changed.')
    .option('--mirror <host:port>', 'Registry address of the node. (default: the one in the configuration)')
    .option(
      '--registry <name>',
      'Only this registry. (repeatable; default: all)',
      (name: string, before: readonly string[] = []) => [...before, name],
    )
    .option('--file <path>', "The client's configuration file, where it is not in its usual place.")
    .option('--root <folder>', "Where the machine's files are mounted.", '/')
    .option('--state <folder>', 'Where to keep what --undo needs.')
    .option('--config <file>', 'YAML file that the node runs with.')
    .option('--json', 'Print what is changed as JSON.')
    .addHelpText('after', help)
    .action((client: ClientName, flags: SetupFlags) => {
      const report = flags.undo ? undo(client, flags) : setUp(client, flags)
      process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : reportText(report, flags))
    })
}

function setUp(client: ClientName, flags: SetupFlags): Report {
  const { config, mirror, registry, file, dryRun } = flags
  const { disk, journal } = filesOf(client, flags)
  const { registries, registry: node } = configOf({ config })
  const { edits, notes } = clients[client].plan({
    mirror: mirror === undefined ? reachable(node.listen) : mirrorOf(mirror),
    registries: registry,
    known: Object.keys(registries).filter((name) => !name.includes('*')),
    file: file === undefined ? undefined : resolve(file),
    disk,
    home: homeOf(flags),
  })
  const changes = edits.map(({ path, text }) => ({ path, now: disk.read(path), text, folders: [] }))
  if (!dryRun) all(changes, disk, ({ path, text }) => journal.change(path, text ?? ''))
  return reportOf(client, changes, notes)
}

function undo(client: ClientName, flags: SetupFlags): Report {
  const { disk, journal } = filesOf(client, flags)
  // The last change first, so that folders are empty again when it is their turn.
  const files = journal.undone().toReversed()
  if (!flags.dryRun && files.length > 0) {
    all(files, disk, ({ path, text, folders }) => {
      if (text === undefined) disk.remove(path)
      else disk.write(path, text, 0o644)
      disk.removeEmpty(folders)
    })
    journal.forget()
  }
  const changes = files.filter(({ now, text }) => now !== text)
  return reportOf(client, changes, [])
}

/** Changes all files, or none where one can't be. */
function all(files: readonly Restored[], disk: MachineDisk, change: (file: Restored) => void): void {
  const done: Restored[] = []
  try {
    for (const file of files) {
      done.push(file)
      change(file)
    }
  } catch (error) {
    for (const { path, now } of done) {
      if (disk.read(path) === now) continue
      if (now === undefined) disk.remove(path)
      else disk.write(path, now, 0o644)
    }
    throw error
  }
}

function reportOf(client: ClientName, changes: readonly Restored[], notes: readonly string[]): Report {
  const changed = changes.map(({ path, now, text }) => ({ path, diff: diffOf(path, now, text) }))
  const restart = changed.length === 0 ? [] : clients[client].restartAfter(changed.map(({ path }) => path))
  return { client, changed, restart, notes }
}

function filesOf(client: ClientName, flags: SetupFlags): { disk: MachineDisk; journal: SetupJournal } {
  const disk = new MachineDisk(resolve(flags.root))
  const home = homeOf(flags)
  const state = home === undefined ? '/var/lib/layerd/setup' : join(home, '.local/state/layerd/setup')
  return {
    disk,
    journal: new SetupJournal(disk, flags.state === undefined ? state : resolve(flags.state), clients[client].journal),
  }
}

/** The home folder of whoever changes their own files rather than the machine's. */
function homeOf({ root }: SetupFlags): string | undefined {
  return process.getuid?.() === 0 || resolve(root) !== '/' ? undefined : homeFolder()
}

function mirrorOf(text: string): string {
  const address = parseAddress(text)
  if (address === undefined || address.port === 0) throw new Failure(`--mirror ${text}: expected host:port`)
  return formatAddress(address)
}

function diffOf(path: string, before: string | undefined, after: string | undefined): string {
  const name = (text: string | undefined) => (text === undefined ? '/dev/null' : path)
  const patch = createTwoFilesPatch(name(before), name(after), before ?? '', after ?? '')
  return patch.replace(/^(?:Index: .*\n)?=+\n/, '')
}

function reportText({ client, changed, restart, notes }: Report, { dryRun, undo }: SetupFlags): string {
  const nothing = undo ? `nothing of ${client} is changed by this command` : `${client} is set up already`
  const done = dryRun ? 'would be changed' : 'changed'
  return [
    ...changed.map(({ diff }) => diff),
    changed.length === 0 ? nothing : `${done}: ${changed.map(({ path }) => path).join(', ')}`,
    ...restart.map((command) => `then:  ${command}`),
    ...notes.map((note) => `note:  ${note}`),
    '',
  ].join('\n')
}
