import { join } from 'node:path'
import { isTree, type Tree, valueAt } from '../../../config/tree.ts'
import { Failure } from '../failure.ts'
import { addedBy, type Client, type Disk, type Edit, type Plan, type Wish } from './client.ts'
import { addTable, parseToml, setString } from './toml.ts'

const usualFile = '/etc/containerd/config.toml'
const usualFolder = '/etc/containerd/certs.d'
const marker = addedBy('containerd')

/**
 * containerd, for `ctr`, `nerdctl` and Kubernetes: `config_path` in its configuration, and a hosts.toml for each registry
 * (https://github.com/containerd/containerd/blob/main/docs/hosts.md).
 */
export const containerd: Client = {
  about: 'containerd, with Kubernetes or alone',
  journal: 'containerd',
  // What is in hosts.toml is read for each pull.
  restartAfter: (paths) =>
    paths.every((path) => path.endsWith('/hosts.toml')) ? [] : ['systemctl restart containerd'],
  plan({ mirror, registries, file = usualFile, disk }: Wish): Plan {
    const text = disk.read(file)
    const { edit, folder, notes } = configPath(file, text)
    const names = registries ?? [...new Set(['_default', ...namesIn(disk, folder)])]
    const hosts = names.map((name) => hostsFile(disk, join(folder, name), mirror))
    return {
      edits: [...edit, ...hosts.flatMap(({ edits }) => edits)],
      notes: [
        ...notes,
        ...hosts.flatMap(({ note }) => note),
        `ctr does not read ${folder} by itself: ctr images pull --hosts-dir ${folder} …`,
      ],
    }
  },
}

/** Where CRI's settings of registries are: the name of the plugin goes with the version of the file. */
function registryTable({ version = 1 }: Tree): readonly string[] {
  const plugin = version === 1 ? 'cri' : version === 2 ? 'io.containerd.grpc.v1.cri' : 'io.containerd.cri.v1.images'
  return ['plugins', plugin, 'registry']
}

/** The folder of hosts.toml files, and what makes containerd read it. */
function configPath(file: string, text: string | undefined): { edit: Edit[]; folder: string; notes: string[] } {
  if (text === undefined || text.trim() === '') {
    const made = setString(file, `${marker}\nversion = 2\n`, registryTable({ version: 2 }), 'config_path', usualFolder)
    return { edit: [{ path: file, text: made }], folder: usualFolder, notes: [] }
  }
  const config = parseToml(file, text)
  const table = registryTable(config)
  const registry = valueAt(config, table)
  const { imports, disabled_plugins: disabled } = config
  const notes = [
    ...(Array.isArray(imports) && imports.length > 0
      ? [`${file} imports ${imports.join(', ')}: a config_path there would count instead`]
      : []),
    ...(Array.isArray(disabled) && disabled.some((name) => String(name).endsWith('cri'))
      ? [`${file} turns the plugin for Kubernetes off (disabled_plugins)`]
      : []),
  ]
  const set = isTree(registry) ? registry.config_path : undefined
  // containerd looks in each of them, in this order.
  if (typeof set === 'string' && set !== '') return { edit: [], folder: set.split(':')[0] ?? set, notes }
  if (isTree(registry)) refuseOldSettings(file, registry)
  return {
    edit: [{ path: file, text: setString(file, text, table, 'config_path', usualFolder) }],
    folder: usualFolder,
    notes,
  }
}

/** containerd does not start its CRI plugin with both. */
function refuseOldSettings(file: string, { mirrors, configs }: Tree): void {
  const isSet = (table: unknown) => isTree(table) && Object.keys(table).length > 0
  const hasTls = isTree(configs) && Object.values(configs).some((config) => isTree(config) && isSet(config.tls))
  const old = isSet(mirrors) ? 'registry.mirrors' : hasTls ? 'registry.configs.….tls' : undefined
  if (old === undefined) return
  throw new Failure(
    `${file} has ${old}, and containerd takes that or config_path, not both; nothing was changed. Move it to ${usualFolder}/<registry>/hosts.toml (https://github.com/containerd/containerd/blob/main/docs/cri/registry.md), take it out, and try again`,
  )
}

/** Registries with a folder of their own, which `_default` does not count for. */
function namesIn(disk: Disk, folder: string): readonly string[] {
  return disk.list(folder).filter((name) => disk.list(join(folder, name)).length > 0)
}

function hostsFile(disk: Disk, folder: string, mirror: string): { edits: Edit[]; note: string[] } {
  const path = join(folder, 'hosts.toml')
  const text = disk.read(path)
  const certificates = disk.list(folder).filter((name) => /\.(?:crt|cert|key)$/.test(name))
  if (text === undefined && certificates.length > 0) {
    // With a hosts.toml containerd would not read them any more.
    return {
      edits: [],
      note: [
        `${folder} has certificates in Docker's way, and was left alone: what it is for does not go by the mirror`,
      ],
    }
  }
  const url = `http://${mirror}`
  if (text !== undefined && isTree(valueAt(parseToml(path, text), ['host', url]))) return { edits: [], note: [] }
  const block = `${marker}\n[host.${JSON.stringify(url)}]\n  capabilities = ["pull", "resolve"]\n`
  const added = { capabilities: ['pull', 'resolve'] }
  return { edits: [{ path, text: addTable(path, text ?? '', block, ['host', url], added) }], note: [] }
}
