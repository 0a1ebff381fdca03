import { z } from 'zod'
import { expectations, type ScalarKind } from './scalars.ts'
import { configSchema } from './schema.ts'

/** The options as a list with their names, kinds and texts, derived from the schema. */

type OptionKind = ScalarKind | 'text' | 'boolean' | 'integer' | 'choice' | 'list'

export interface Option {
  readonly type: 'option'
  readonly path: readonly string[]
  readonly kind: OptionKind
  readonly help: string
  /** What would be right, as the end of "expected ...". */
  readonly expectation: string
  /** As written in a file; undefined where the option has none. */
  readonly fallback: unknown
  readonly secret: boolean
}

interface Section {
  readonly type: 'section'
  readonly path: readonly string[]
  readonly help: string
  readonly members: readonly Member[]
}

/** A section whose entries are named by the user; `entry` has paths below an entry. */
interface Entries {
  readonly type: 'entries'
  readonly path: readonly string[]
  readonly help: string
  readonly entry: readonly Option[]
  readonly fallback: unknown
}

export type Member = Option | Section | Entries

/** What a wrapper (`default`, `optional`, ...) says about the schema within. */
interface Wrapping {
  readonly help: string
  readonly kind: ScalarKind | undefined
  readonly secret: boolean
  readonly fallback: unknown
}

function unwrap(schema: z.ZodType): { inner: z.ZodType; wrapping: Wrapping } {
  let inner = schema
  let wrapping: Wrapping = { help: '', kind: undefined, secret: false, fallback: undefined }
  for (;;) {
    const meta = inner.meta()
    wrapping = {
      help: wrapping.help || (meta?.description ?? ''),
      kind: wrapping.kind ?? meta?.kind,
      secret: wrapping.secret || meta?.secret === true,
      fallback:
        inner instanceof z.ZodPrefault || inner instanceof z.ZodDefault ? inner.def.defaultValue : wrapping.fallback,
    }
    if (!(inner instanceof z.ZodPrefault || inner instanceof z.ZodDefault || inner instanceof z.ZodOptional)) break
    inner = inner.unwrap() as z.ZodType
  }
  return { inner, wrapping }
}

function kindOf(schema: z.ZodType): { kind: OptionKind; expectation: string } {
  if (schema instanceof z.ZodBoolean) return { kind: 'boolean', expectation: 'true or false' }
  if (schema instanceof z.ZodNumber) {
    return { kind: 'integer', expectation: `a whole number from ${schema.minValue} to ${schema.maxValue}` }
  }
  if (schema instanceof z.ZodEnum) return { kind: 'choice', expectation: `one of ${schema.options.join(', ')}` }
  if (schema instanceof z.ZodArray) return { kind: 'list', expectation: 'a list' }
  return { kind: 'text', expectation: 'text (in quotes, if it looks like a number)' }
}

function members(schema: z.ZodObject, path: readonly string[]): Member[] {
  return Object.entries(schema.shape).map(([name, field]) => member(field as z.ZodType, [...path, name]))
}

function member(schema: z.ZodType, path: readonly string[]): Member {
  const { inner, wrapping } = unwrap(schema)
  const { help, kind, secret, fallback } = wrapping
  if (inner instanceof z.ZodObject) return { type: 'section', path, help, members: members(inner, path) }
  if (inner instanceof z.ZodRecord) {
    const entry = members(inner.valueType as unknown as z.ZodObject, [])
    return { type: 'entries', path, help, entry: entry.filter((field) => field.type === 'option'), fallback }
  }
  const form = kind === undefined ? kindOf(inner) : { kind, expectation: expectations[kind] }
  return { type: 'option', path, help, secret, fallback, ...form }
}

/** All options in their sections, in the order of the schema. */
export const optionTree: readonly Member[] = members(configSchema, [])

function flatten(list: readonly Member[]): Option[] {
  return list.flatMap((item) =>
    item.type === 'section' ? flatten(item.members) : item.type === 'option' ? [item] : [],
  )
}

/** All options except the ones of single registries. */
export const options: readonly Option[] = flatten(optionTree)

/** The options of each entry under `registries`. */
export const registryOptions: readonly Option[] = optionTree.flatMap((item) =>
  item.type === 'entries' ? item.entry : [],
)

/** The option that a path belongs to, also for an item of a list. */
export function findOption(path: readonly (string | number)[]): Option | undefined {
  const [first, , field] = path
  if (first === 'registries') return registryOptions.find((option) => option.path[0] === field)
  return options.find((option) => option.path.every((name, index) => path[index] === name))
}

/** The names that may stand in the section at a path; undefined where it is no section or has free names. */
export function namesIn(path: readonly (string | number)[]): readonly string[] | undefined {
  if (path[0] === 'registries') return path.length === 2 ? registryOptions.map((option) => option.path[0] ?? '') : []
  const below = (item: Member): Member[] => (item.type === 'section' ? [item, ...item.members.flatMap(below)] : [item])
  const names = optionTree.flatMap(below).filter((item) => item.path.length === path.length + 1)
  return names
    .filter((item) => path.every((name, index) => item.path[index] === name))
    .map((item) => item.path.at(-1) ?? '')
}

/** The names of a path as one in capitals: `store.maxSize` -> `STORE_MAX_SIZE`. */
function capitals(path: readonly string[]): string {
  return path.map((name) => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()).join('_')
}

/** The variable of an option: `store.maxSize` -> `LAYERD_STORE_MAX_SIZE`. */
export function variableOf(path: readonly string[]): string {
  return `LAYERD_${capitals(path)}`
}

/** The variable of a registry's option: `ghcr.io`, `authRealms` -> `LAYERD_REGISTRIES_GHCR_IO_AUTH_REALMS`. */
export function registryVariableOf(name: string, field: string): string {
  return `LAYERD_REGISTRIES_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}_${capitals([field])}`
}
