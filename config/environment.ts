import { type Layer, resolvePaths } from './layer.ts'
import { suggestion } from './nearest.ts'
import { type Option, options, registryOptions, registryVariableOf, variableOf } from './options.ts'
import { found, type Problem } from './problems.ts'
import { isPattern } from './scalars.ts'
import { setAt, type Tree } from './tree.ts'

export type Environment = Readonly<Record<string, string | undefined>>

/** Names the configuration file, as `--config` does. */
export const fileVariable = 'LAYERD_CONFIG'

const listVariable = variableOf(['registries'])

/** Not ours to judge: variables of the project's own tests and benchmarks. */
const projectVariable = /^LAYERD_(?:E2E|BENCH|SIM|TEST)_/

// Kubernetes gives every container variables about the Services beside it; one called "layerd" makes LAYERD_PORT & co.
// https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
const serviceVariable = /^LAYERD_(?:[A-Z0-9_]+_)?SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$/
const linkVariable = /^LAYERD_(?:[A-Z0-9_]+_)?PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?$/

function isForeign(name: string, value: string): boolean {
  if (projectVariable.test(name) || serviceVariable.test(name)) return true
  return linkVariable.test(name) && (name.includes('_PORT_') || /^(?:tcp|udp|sctp):\/\//.test(value))
}

/** `docker.io=http://127.0.0.1:5001` -> name and endpoint. A pattern, which has no endpoint of its own, stands alone. */
export function splitRegistry(text: string): { name: string; endpoint?: string } | { message: string } {
  if (isPattern(text) && !text.includes('=')) return { name: text }
  const at = text.indexOf('=')
  if (at > 0) return { name: text.slice(0, at).trim(), endpoint: text.slice(at + 1).trim() }
  return { message: `expected NAME=URL such as "docker.io=https://registry-1.docker.io", got ${found(text)}` }
}

const items = (text: string) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '')

const switches: Readonly<Record<string, boolean>> = { true: true, '1': true, false: false, '0': false }

/** The text of a variable as the value that the schema expects; text that is no such value is left to the schema. */
function parseVariable(text: string, { kind }: Option): unknown {
  if (kind === 'list' || kind === 'paths' || kind === 'addresses') return items(text)
  if (kind === 'boolean') return switches[text.toLowerCase()] ?? text
  if (kind === 'integer') return /^-?\d+(?:\.\d+)?$/.test(text) ? Number(text) : text
  return text
}

interface Target {
  readonly path: readonly string[]
  readonly option: Option
}

/** Every variable that there is, by name, with the registries that are on the list. */
function targets(registryNames: readonly string[]): Map<string, Target> {
  const single = options.map((option): [string, Target] => [variableOf(option.path), { path: option.path, option }])
  // No variable can spell a pattern: its options are set in the file.
  const exact = registryNames.filter((name) => !isPattern(name))
  const perRegistry = exact.flatMap((name) =>
    registryOptions.map((option): [string, Target] => [
      registryVariableOf(name, option.path[0] ?? ''),
      { path: ['registries', name, ...option.path], option },
    ]),
  )
  return new Map([...perRegistry, ...single])
}

/**
 * What the `LAYERD_*` variables say. An empty variable counts as none. Relative paths are relative to the working
 * directory.
 * @param registries names on the list: the ones that a list in the variables replaces, and the ones that flags add
 */
export function readEnvironmentLayer(
  env: Environment,
  registries: { readonly below: readonly string[]; readonly added: readonly string[] },
  cwd: string,
  home: string,
): Layer {
  const values: Tree = {}
  const problems: Problem[] = []
  const origins = new Map<string, string>()
  const put = (path: readonly string[], value: unknown, name: string) => {
    setAt(values, path, value)
    origins.set(path.join('\0'), name)
  }

  const list = env[listVariable] ? items(env[listVariable]) : undefined
  const listed: string[] = []
  for (const text of list ?? []) {
    const entry = splitRegistry(text)
    if ('message' in entry) {
      problems.push({ origin: listVariable, path: 'registries', message: entry.message })
      continue
    }
    listed.push(entry.name)
    if (entry.endpoint === undefined) put(['registries', entry.name], {}, listVariable)
    else put(['registries', entry.name, 'endpoint'], entry.endpoint, listVariable)
  }

  const known = targets([...(list === undefined ? registries.below : listed), ...registries.added])
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('LAYERD_') || text === undefined || text === '') continue
    if (name === fileVariable || name === listVariable || isForeign(name, text)) continue
    const target = known.get(name)
    if (target !== undefined) put(target.path, parseVariable(text, target.option), name)
    else {
      const near = suggestion(name, [...known.keys(), listVariable, fileVariable])
      problems.push({ origin: name, path: '', message: `there is no variable of this name${near}` })
    }
  }

  resolvePaths(values, { base: cwd, home })
  return {
    values,
    registryList: list === undefined ? undefined : listed,
    origin: (path) => {
      for (let length = path.length; length > 0; length--) {
        const origin = origins.get(path.slice(0, length).join('\0'))
        if (origin !== undefined) return origin
      }
      // A registry's name is wrong rather than one of its options.
      const isName = path[0] === 'registries' && path.length === 2 && listed.includes(String(path[1]))
      return isName ? listVariable : undefined
    },
    problems,
  }
}
