/** Option values as they were written, before the schema: nested plain objects with single values and lists. */
export type Tree = { [name: string]: unknown }

export type Path = readonly (string | number)[]

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function child(value: unknown, name: string | number): unknown {
  if (typeof name === 'number') return Array.isArray(value) ? value[name] : undefined
  return isTree(value) && Object.hasOwn(value, name) ? value[name] : undefined
}

/** The value at a path; undefined where there is none. */
export function valueAt(tree: unknown, path: Path): unknown {
  return path.reduce(child, tree)
}

/** Puts a value at a path, making the sections on the way. */
export function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  let section = tree
  for (const name of path.slice(0, -1)) {
    const next = child(section, name)
    section = isTree(next) ? next : assign(section, name, {})
  }
  assign(section, path.at(-1) ?? '', value)
}

/** Takes out what is at a path. An item takes its whole list along: half a list is not what anybody wrote. */
export function removeAt(tree: Tree, path: Path): void {
  const item = path.findIndex((name) => typeof name === 'number')
  const names = item === -1 ? path : path.slice(0, item)
  const section = valueAt(tree, names.slice(0, -1))
  if (isTree(section)) delete section[names.at(-1) ?? '']
}

/** Lays `upper` over `lower`: sections are merged, single values and lists replaced. Neither is changed. */
export function merge(lower: Tree, upper: Tree): Tree {
  const merged: Tree = { ...lower }
  for (const [name, value] of Object.entries(upper)) {
    const below = child(lower, name)
    assign(merged, name, isTree(value) ? merge(isTree(below) ? below : {}, value) : value)
  }
  return merged
}

// "__proto__" is a name like any other here: defined, not assigned.
function assign<T>(section: Tree, name: string, value: T): T {
  Object.defineProperty(section, name, { value, enumerable: true, configurable: true, writable: true })
  return value
}
