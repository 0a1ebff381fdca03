import { join } from 'node:path'
import { stringify } from 'smol-toml'
import { isTree, type Tree } from '../../../config/tree.ts'
import { Failure } from '../failure.ts'
import { addedBy, type Client, type Disk, type Plan, type Wish } from './client.ts'
import { parseToml } from './toml.ts'

const systemFolder = '/etc/containers'
const ownName = '99-layerd.conf'
const marker = addedBy('podman')

/** podman, buildah and skopeo. */
export const podman = containersClient({
  about: 'podman, buildah and skopeo; CRI-O reads the same file',
  restart: [],
  hasUsers: true,
})

/** CRI-O, which reads the same files. */
export const crio = containersClient({
  about: 'CRI-O; podman reads the same file',
  restart: ['systemctl reload crio'],
  hasUsers: false,
})

interface Program {
  readonly about: string
  readonly restart: readonly string[]
  /** Whether it reads files of the user who runs it, too. */
  readonly hasUsers: boolean
}

/**
 * What reads containers-registries.conf(5): a file of our own beside what is there. It replaces what earlier files say of the same
 * registry, so that is repeated in it (containers-registries.conf.d(5)).
 */
function containersClient({ about, restart, hasUsers }: Program): Client {
  return {
    about,
    journal: 'podman',
    restartAfter: () => restart,
    plan({ mirror, registries, known, file, disk, ...wish }: Wish): Plan {
      const home = hasUsers ? wish.home : undefined
      const main = home === undefined ? systemFolder : join(home, '.config/containers')
      const path = file ?? join(main, 'registries.conf.d', ownName)
      refuseForeign(disk, path)
      const folders = home === undefined ? [systemFolder] : [systemFolder, main]
      const { entries, notes } = readEntries(disk, folders, path)
      const names = registries ?? known
      const tables = names.map((registry) => tableFor(registry, mirror, entries.get(registry)))
      const text = `${marker}\n${tables.map((table) => stringify({ registry: [table] })).join('\n')}`
      return { edits: disk.read(path) === text ? [] : [{ path, text }], notes }
    },
  }
}

/** The file is written whole. */
function refuseForeign(disk: Disk, path: string): void {
  const text = disk.read(path)
  if (text === undefined || text.startsWith(marker)) return
  throw new Failure(
    `${path} is not a file of this command, which writes one of its own; nothing was changed. Name a file that is not there yet in a folder registries.conf.d`,
  )
}

interface Found {
  readonly entries: ReadonlyMap<string, Tree>
  readonly notes: readonly string[]
}

/** What the files say of registries, by prefix; the last one counts. */
function readEntries(disk: Disk, folders: readonly string[], own: string): Found {
  const entries = new Map<string, Tree>()
  const notes: string[] = []
  for (const folder of folders) {
    const dropIns = join(folder, 'registries.conf.d')
    const paths = [join(folder, 'registries.conf'), ...disk.list(dropIns).map((file) => join(dropIns, file))]
    for (const path of paths) {
      if (path === own || !path.endsWith('.conf')) continue
      const config = parseToml(path, disk.read(path) ?? '')
      if (isTree(config.registries)) {
        throw new Failure(
          `${path} is in the first version of its format ([registries.…]), which knows no mirrors; nothing was changed. Write it in the second one (man containers-registries.conf), and try again`,
        )
      }
      const tables = Array.isArray(config.registry) ? config.registry.filter(isTree) : []
      for (const table of tables) entries.set(String(table.prefix ?? table.location), table)
      if (tables.length > 0 && path > own) notes.push(`${path} is read later, and counts for the registries in it`)
    }
  }
  return { entries, notes }
}

/** The registry with this mirror first, and with all that was said of it before. */
function tableFor(registry: string, mirror: string, before: Tree = { location: registry }): Tree {
  const location = `${mirror}/${registry}`
  const mirrors = Array.isArray(before.mirror) ? before.mirror.filter(isTree) : []
  const others = mirrors.filter((one) => one.location !== location)
  return { ...before, mirror: [{ location, insecure: true }, ...others] }
}
