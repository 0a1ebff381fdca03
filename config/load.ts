import { checkConfig } from './checks.ts'
import { type Environment, fileVariable, readEnvironmentLayer } from './environment.ts'
import { readFileLayer } from './file.ts'
import { type Flags, readFlagLayer } from './flags.ts'
import { absolutePath, fillEndpoints, type Layer, resolvePaths, validate } from './layer.ts'
import { ConfigError, type Finding, pathText } from './problems.ts'
import { wellKnownRegistries } from './registries.ts'
import { type Config, configSchema } from './schema.ts'
import { isTree, merge, type Path, type Tree } from './tree.ts'

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
  const envLayer = readEnvironmentLayer(env, registries, cwd, home)

  const layers = [fileLayer, envLayer, flagLayer]
  const problems = layers.flatMap((layer) => [...layer.problems, ...validate(layer)])

  const tree = fillEndpoints(layers.reduce(lay, { registries: wellKnownRegistries }))
  const config = configSchema.parse(tree)
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

/** Lays a layer over the ones below. One that gives the list of registries drops the others from it. */
function lay(lower: Tree, { values, registryList }: Layer): Tree {
  if (registryList === undefined || !isTree(lower.registries)) return merge(lower, values)
  const kept = Object.entries(lower.registries).filter(([name]) => registryList.includes(name))
  return merge({ ...lower, registries: Object.fromEntries(kept) }, values)
}

/** Where the strongest layer with a value at the path has it; undefined for a default. */
function originOf(path: Path, layers: readonly Layer[]): string | undefined {
  return layers
    .toReversed()
    .map((layer) => layer.origin(path))
    .find((origin) => origin !== undefined)
}
