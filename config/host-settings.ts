import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type HostSettings, readHostsFile } from './hosts-toml.ts'
import { endpointOf, type Layer } from './layer.ts'
import type { Problem } from './problems.ts'
import { dockerHubAliases, isPattern, registryName } from './scalars.ts'
import { merge, type Path, setAt, type Tree } from './tree.ts'

export interface HostFolders {
  /** As Docker has it: `<host[:port]>/*.crt`, `*.cert` and `*.key`. Absolute, as the other one. */
  readonly dockerCerts?: string | undefined
  /** As containerd has it: `<host>/hosts.toml`. */
  readonly containerdHosts?: string | undefined
}

/**
 * The settings of registries that Docker and containerd already have on the machine, as a layer below the file. What
 * containerd has comes before what Docker has. Folders whose name is no registry's, such as `_default`, are left out.
 */
export function readHostSettings({ dockerCerts, containerdHosts }: HostFolders): Layer {
  const values: Tree = { registries: {} }
  const origins = new Map<string, string>()
  const problems: Problem[] = []
  const add = (folder: string | undefined, option: string, read: (folder: string, name: string) => HostSettings) => {
    for (const { name, path } of registryFolders(folder, option, problems)) {
      const found = read(path, name)
      problems.push(...found.problems)
      const { endpoint } = found.values
      // What Docker has is for the registry's own host, and not for a server that containerd asks in its place.
      const isOwnHost = typeof endpoint !== 'string' || isSameOrigin(endpoint, endpointOf(name))
      setAt(values, ['registries', name], merge(isOwnHost ? entryOf(values, name) : {}, found.values))
      origins.set(name, found.origin)
      for (const field of Object.keys(found.values)) origins.set(`${name}\0${field}`, found.origin)
    }
  }
  add(dockerCerts, 'dockerCerts', readDockerFolder)
  add(containerdHosts, 'containerdHosts', readContainerdFolder)
  const origin = ([first, name, field]: Path) => {
    if (first !== 'registries' || name === undefined) return undefined
    return origins.get(field === undefined ? String(name) : `${name}\0${field}`)
  }
  return { values, origin, problems }
}

function isSameOrigin(one: string, other: string): boolean {
  return URL.canParse(one) && new URL(one).origin === new URL(other).origin
}

function entryOf({ registries }: Tree, name: string): Tree {
  return ((registries as Tree)[name] ?? {}) as Tree
}

function registryFolders(folder: string | undefined, option: string, problems: Problem[]) {
  if (folder === undefined || !existsSync(folder)) return []
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() || entry.isSymbolicLink())
      .map((entry) => ({ name: nameOf(entry.name), path: join(folder, entry.name) }))
      .filter(({ name }) => registryName.safeParse(name).success && !isPattern(name))
  } catch (error) {
    const message = `expected a folder that can be read: ${(error as NodeJS.ErrnoException).code}`
    problems.push({ origin: folder, path: `upstream.${option}`, message })
    return []
  }
}

/** The registry that a folder is for. containerd also takes `host_port_`, for file systems without colons in names. */
function nameOf(folder: string): string {
  const name = folder
    .toLowerCase()
    .replace(/_(\d{1,5})_$/, ':$1')
    .replace(/(?<=\.[^:]*):443$/, '')
  return dockerHubAliases.includes(name) ? 'docker.io' : name
}

/** A folder without `hosts.toml` is read as Docker reads it, as containerd does. */
function readContainerdFolder(folder: string, name: string): HostSettings {
  const file = join(folder, 'hosts.toml')
  return existsSync(file) ? readHostsFile(file, name) : readDockerFolder(folder)
}

/** https://docs.docker.com/engine/security/certificates/ */
function readDockerFolder(folder: string): HostSettings {
  let files: string[]
  try {
    files = readdirSync(folder).sort()
  } catch (error) {
    const message = `expected a folder that can be read: ${(error as NodeJS.ErrnoException).code}`
    return { values: {}, origin: folder, problems: [{ origin: folder, path: '', message }] }
  }
  const named = (extension: string) => files.filter((file) => file.endsWith(extension))
  const problems: Problem[] = []
  const problem = (message: string) => problems.push({ origin: folder, path: '', message })
  const partner = (file: string, from: string, to: string) => file.slice(0, -from.length) + to
  const pairs = named('.cert').filter((cert) => {
    const key = partner(cert, '.cert', '.key')
    if (files.includes(key)) return true
    problem(`expected the key ${key} beside ${cert}; certificates of authorities end in .crt`)
    return false
  })
  for (const key of named('.key')) {
    const cert = partner(key, '.key', '.cert')
    if (!files.includes(cert)) problem(`expected the client certificate ${cert} beside ${key}`)
  }
  if (pairs.length > 1) problem(`expected one client certificate, got ${pairs.join(' and ')}`)
  const [cert] = pairs
  const ca = named('.crt').map((file) => join(folder, file))
  return {
    values: {
      ...(ca.length === 0 ? {} : { ca }),
      ...(cert === undefined ? {} : { cert: join(folder, cert), key: join(folder, partner(cert, '.cert', '.key')) }),
    },
    origin: folder,
    problems,
  }
}
