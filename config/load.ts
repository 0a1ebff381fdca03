import { checkConfig, isOwnMirror } from './checks.ts'
import { type Environment, fileVariable, readEnvironmentLayer } from './environment.ts'
import { readFileLayer } from './file.ts'
import { type Flags, readFlagLayer } from './flags.ts'
import { readHostSettings } from './host-settings.ts'
import { absolutePath, endpointOf, fillEndpoints, type Layer, resolvePaths, validate } from './layer.ts'
import { variableOf } from './options.ts'
import { ConfigError, type Finding, pathText } from './problems.ts'
import { readProxyEnvironment } from './proxy-environment.ts'
import { wellKnownRegistries } from './registries.ts'
import { type Config, configSchema, type ListenAddress } from './schema.ts'
import { isTree, merge, type Path, removeAt, type Tree, valueAt } from './tree.ts'

export interface ConfigSources {
  /** `--config`; without it the variable `LAYERD_CONFIG` names the file, and without that there is none. */
  readonly file?: string | undefined
  readonly env: Environment
  readonly flags: Flags
  /** Working directory; absolute. */
  readonly cwd: string
  /** What `~` stands for; empty if not known. */
  readonly home: string
}

const noFile: Layer = { values: {}, origin: () => undefined, problems: [] }

/**
 * The effective configuration: defaults, then the YAML file, then `LAYERD_*` variables, then flags, the last the
 * strongest. Paths in it are absolute.
 * @throws {ConfigError} with everything that is wrong in all of them
 */
export function loadConfig({ file, env, flags, cwd, home }: ConfigSources): Config {
  const named = file ?? (env[fileVariable] || undefined)
  const fileLayer = named === undefined ? noFile : readFileLayer(absolutePath(named, { base: cwd, home }), home)
  const flagLayer = readFlagLayer(flags, cwd, home)
  const registries = {
    below: fileLayer.registryList ?? Object.keys(wellKnownRegistries),
    added: isTree(flagLayer.values.registries) ? Object.keys(flagLayer.values.registries) : [],
  }
  const hostFolder = (option: 'dockerCerts' | 'containerdHosts') => {
    const path = ['upstream', option]
    const text = env[variableOf(path)]
    const value = text ? absolutePath(text, { base: cwd, home }) : valueAt(fileLayer.values, path)
    return typeof value === 'string' ? value : undefined
  }
  const hostLayer = readHostSettings({
    dockerCerts: hostFolder('dockerCerts'),
    containerdHosts: hostFolder('containerdHosts'),
  })
  const hosts = Object.keys(hostLayer.values.registries as Tree)
  registries.added.push(...hosts)
  const envLayer = readEnvironmentLayer(env, registries, cwd, home)
  const proxyLayer = readProxyEnvironment(env, [fileLayer, envLayer])

  const layers = [proxyLayer, hostLayer, fileLayer, envLayer, flagLayer]
  const problems = layers.flatMap((layer) => [...layer.problems, ...validate(layer)])

  const lay = layOver(hosts)
  const parse = () => configSchema.parse(fillEndpoints(layers.reduce(lay, { registries: wellKnownRegistries })))
  dropMisplaced(hostLayer.values, parse())
  const config = parse()
  // Only the paths that are defaults are not absolute yet.
  resolvePaths(config, { base: cwd, home })

  // A value that was refused above is a default here: what does not fit it says nothing.
  const faulty = new Set(problems.map(({ path }) => path))
  const isNews = ({ path, beside }: Finding) => ![path, beside ?? path].some((part) => faulty.has(pathText(part)))
  for (const { path, beside, message } of checkConfig(config).filter(isNews)) {
    const origin = originOf(path, layers) ?? originOf(beside ?? path, layers) ?? 'default'
    problems.push({ origin, path: pathText(path), message })
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return config
}

/**
 * Takes out what the machine's settings say of a registry that is asked elsewhere than they think: they hold for the host that they
 * were written for. A registry whose server is this node has it in front of itself, and is to be asked where it is.
 */
function dropMisplaced(hosts: Tree, { registries, registry }: Config): void {
  for (const [name, entry] of Object.entries(hosts.registries as Tree)) {
    if (!isTree(entry)) continue
    const { endpoint } = entry
    const { listen, loginListen } = registry
    const isMirror = (address: ListenAddress | undefined) =>
      address !== undefined && typeof endpoint === 'string' && isOwnMirror(endpoint, address)
    const meant = typeof endpoint === 'string' ? endpoint : endpointOf(name)
    const used = registries[name]?.endpoint
    const isElsewhere = used === undefined || new URL(used).origin !== new URL(meant).origin
    if (!isElsewhere && !isMirror(listen) && !isMirror(loginListen)) continue
    for (const field of Object.keys(entry)) removeAt(hosts, ['registries', name, field])
  }
}

/**
 * Lays a layer over the ones below. One that gives the list of registries drops the others from it.
 * @param hosts names that stay on the list, as the machine has settings for them
 */
function layOver(hosts: readonly string[]) {
  return (lower: Tree, { values, registryList }: Layer): Tree => {
    if (registryList === undefined || !isTree(lower.registries)) return merge(lower, values)
    const kept = Object.entries(lower.registries).filter(([name]) => [...registryList, ...hosts].includes(name))
    return merge({ ...lower, registries: Object.fromEntries(kept) }, values)
  }
}

/** Where the strongest layer with a value at the path has it; undefined for a default. */
function originOf(path: Path, layers: readonly Layer[]): string | undefined {
  return layers
    .toReversed()
    .map((layer) => layer.origin(path))
    .find((origin) => origin !== undefined)
}
