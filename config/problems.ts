import type { z } from 'zod'
import { suggestion } from './nearest.ts'
import { findOption, namesIn } from './options.ts'
import { isTree, type Path, type Tree, valueAt } from './tree.ts'

/** One thing that is wrong with the configuration. */
export interface Problem {
  /** Where it was written: `file:line:column`, a variable or a flag; "default" where it was not. */
  readonly origin: string
  /** The option, such as `store.maxSize` or `registries["ghcr.io"].endpoint`; empty where it concerns none. */
  readonly path: string
  /** What was found and what would be right. Never holds a secret. */
  readonly message: string
}

/** Everything that is wrong with the configuration, at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    const lines = problems.map(({ origin, path, message }) =>
      path === '' || path === origin ? `  ${origin}: ${message}` : `  ${origin}: ${path}: ${message}`,
    )
    const count = problems.length === 1 ? 'a problem' : `${problems.length} problems`
    super([`${count} in the configuration:`, ...lines].join('\n'))
    this.problems = problems
  }
}

/** `['registries', 'ghcr.io', 'authRealms', 0]` -> `registries["ghcr.io"].authRealms[0]`. */
export function pathText(path: Path): string {
  return path.reduce<string>((text, name) => {
    if (typeof name === 'number') return `${text}[${name}]`
    if (!/^\w+$/.test(name)) return `${text}[${JSON.stringify(name)}]`
    return text === '' ? name : `${text}.${name}`
  }, '')
}

const shownLength = 100

/** A value as it appears in a message; credentials in a URL do not. */
export function found(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (isTree(value)) return 'a section'
  const text = (JSON.stringify(value) ?? String(value)).replace(/\/\/[^/@]*@/, '//***@')
  return text.length > shownLength ? `${text.slice(0, shownLength)}…` : text
}

/** Which option is wrong, and why. */
export interface Finding {
  readonly path: Path
  /** The other option that does not fit this one. */
  readonly beside?: Path
  readonly message: string
}

/** What the schema says about a tree, in words that name what was found and what would be right. */
export function findings(issues: readonly z.core.$ZodIssue[], tree: Tree): Finding[] {
  return issues.flatMap((issue) => {
    const path = issue.path as Path
    const value = valueAt(tree, path)
    if (issue.code === 'unrecognized_keys') {
      const names = namesIn(path) ?? []
      return issue.keys.map((key) => ({
        path: [...path, key],
        message: `there is no option of this name${suggestion(key, names)}`,
      }))
    }
    if (issue.code === 'invalid_key') {
      return [{ path, message: `${issue.issues[0]?.message ?? issue.message}, got ${found(path.at(-1))}` }]
    }
    const option = findOption(path)
    const shown = option?.secret === true && value !== undefined ? 'something else' : found(value)
    return [{ path, message: `${expected(issue, path)}, got ${shown}` }]
  })
}

function expected(issue: z.core.$ZodIssue, path: Path): string {
  // Messages of our own say what is expected; the library's are replaced.
  if (issue.message.startsWith('expected ')) return issue.message
  const option = findOption(path)
  if (option === undefined) return 'expected a section with options'
  const isItem = typeof path.at(-1) === 'number'
  return `expected ${isItem ? 'text (in quotes, if it looks like a number)' : option.expectation}`
}
