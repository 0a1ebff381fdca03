import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { type Option, options, registryOptions } from './options.ts'
import { findings, type Problem, pathText } from './problems.ts'
import { wellKnownRegistries } from './registries.ts'
import { configSchema } from './schema.ts'
import { isTree, type Path, removeAt, setAt, type Tree, valueAt } from './tree.ts'

/** What one place (the file, the variables, the flags) says about the configuration. */
export interface Layer {
  readonly values: Tree
  /** Set where the place gives the list of registries rather than adding to it: the names on the list. */
  readonly registryList?: readonly string[] | undefined
  /** Where the value at a path was written; undefined if not in this layer. */
  origin(path: Path): string | undefined
  /** What is wrong with the form of the place itself. */
  readonly problems: readonly Problem[]
}

/** Where relative paths start, and what `~` is. */
export interface Folders {
  readonly base: string
  readonly home: string
}

/** The account's home directory; empty where it has none (a container with an arbitrary user). */
export function homeFolder(): string {
  try {
    return homedir()
  } catch {
    return ''
  }
}

/** Makes a path absolute. `~name`, and `~` without a home directory, stay as they are for the checks to find. */
export function absolutePath(text: string, { base, home }: Folders): string {
  if (!text.startsWith('~')) return resolve(base, text)
  if (home === '' || (text !== '~' && !text.startsWith('~/'))) return text
  return resolve(home, text.slice(2))
}

/** Makes every path in a tree absolute, in place. */
export function resolvePaths(tree: Tree, folders: Folders): void {
  const registries = valueAt(tree, ['registries'])
  const names = isTree(registries) ? Object.keys(registries) : []
  const paths = [
    ...options.filter(isPath).map((option) => option.path),
    ...registryOptions.filter(isPath).flatMap((option) => names.map((name) => ['registries', name, ...option.path])),
  ]
  for (const path of paths) {
    const value = valueAt(tree, path)
    const resolved = resolvedPath(value, folders)
    if (resolved !== value) setAt(tree, path, resolved)
  }
}

const isPath = ({ kind }: Option) => kind === 'path' || kind === 'paths'

/** What is no path is left to the schema. */
function resolvedPath(value: unknown, folders: Folders): unknown {
  if (Array.isArray(value)) return value.map((item) => resolvedPath(item, folders))
  return typeof value === 'string' && value !== '' ? absolutePath(value, folders) : value
}

/** Gives registries without an endpoint the one that their name stands for. */
export function fillEndpoints(tree: Tree): Tree {
  const registries = valueAt(tree, ['registries'])
  if (!isTree(registries)) return tree
  const filled = Object.entries(registries).map(([name, entry]) => {
    if (!isTree(entry) || Object.hasOwn(entry, 'endpoint')) return [name, entry]
    return [name, { ...entry, endpoint: endpointOf(name) }]
  })
  return { ...tree, registries: Object.fromEntries(filled) }
}

/** Where a registry is that nothing is said of. */
export function endpointOf(name: string): string {
  const known = Object.hasOwn(wellKnownRegistries, name) ? wellKnownRegistries[name]?.endpoint : undefined
  return known ?? `https://${name}`
}

/**
 * What the schema finds wrong in a layer. The wrong values are taken out of it, so that what is left can be checked
 * together with the other layers.
 */
export function validate(layer: Layer): Problem[] {
  const tree = fillEndpoints(layer.values)
  const result = configSchema.safeParse(tree)
  if (result.success) return []
  const list = findings(result.error.issues, tree)
  const problems = list.map(({ path, message }) => ({
    origin: layer.origin(path) ?? 'default',
    path: pathText(path),
    message,
  }))
  for (const { path } of list) removeAt(layer.values, path)
  return problems
}
