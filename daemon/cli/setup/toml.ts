import { isDeepStrictEqual } from 'node:util'
import { parse, TomlError } from 'smol-toml'
import { isTree, setAt, type Tree } from '../../../config/tree.ts'
import { Failure } from '../failure.ts'

/** @throws {Failure} that names file and line, where the text is no TOML */
export function parseToml(path: string, text: string): Tree {
  try {
    return parse(text) as Tree
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const reason = error.message.split('\n')[0]?.replace('Invalid TOML document: ', '') ?? 'no TOML'
    throw new Failure(`${path}:${error.line}: ${reason}; nothing was changed`)
  }
}

/**
 * Sets a string in a table, and leaves all other bytes of the text as they are.
 * @param table the table's path, which is made at the end of the text where there is none
 * @throws {Failure} where that can't be done without changing something else
 */
export function setString(path: string, text: string, table: readonly string[], key: string, value: string): string {
  const lines = text.split('\n')
  const head = lines.findIndex((line) => isDeepStrictEqual(tableOf(line), table))
  const setting = `${key} = ${JSON.stringify(value)}`
  let edited: string
  if (head < 0) {
    const before = text === '' || text.endsWith('\n') ? text : `${text}\n`
    edited = `${before}\n[${table.map(tomlKey).join('.')}]\n  ${setting}\n`
  } else {
    const next = lines.findIndex((line, index) => index > head && /^\s*\[/.test(line))
    const end = next < 0 ? lines.length : next
    const place = lines.findIndex((line, index) => index > head && index < end && isSetting(line, key))
    const indent = /^\s*/.exec(lines[place < 0 ? head : place] ?? '')?.[0] ?? ''
    if (place < 0) lines.splice(head + 1, 0, `${indent}  ${setting}`)
    else lines.splice(place, 1, `${indent}${setting}`)
    edited = lines.join('\n')
  }
  const expected = parseToml(path, text)
  setAt(expected, [...table, key], value)
  return checked(path, edited, expected, `${setting} in [${table.map(tomlKey).join('.')}]`)
}

/**
 * Adds a block of lines before the first table, as the order of tables counts for some programs.
 * @param added what the block adds to the parsed text
 */
export function addTable(path: string, text: string, block: string, at: readonly string[], added: Tree): string {
  const lines = text.split('\n')
  const first = lines.findIndex((line) => /^\s*\[/.test(line))
  const edited =
    first < 0
      ? `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${text === '' ? '' : '\n'}${block}`
      : [...lines.slice(0, first), ...block.split('\n'), ...lines.slice(first)].join('\n')
  const expected = parseToml(path, text)
  setAt(expected, [...at], added)
  return checked(path, edited, expected, block)
}

const isSetting = (line: string, key: string) => new RegExp(`^\\s*(["']?)${key}\\1\\s*=`).test(line)

/** A name as a key of TOML. */
function tomlKey(name: string): string {
  return /^[\w-]+$/.test(name) ? name : JSON.stringify(name)
}

/** The path that a table's head names; undefined where the line is none. */
function tableOf(line: string): readonly string[] | undefined {
  if (!/^\s*\[[^[]/.test(line)) return undefined
  try {
    const path: string[] = []
    for (let at: unknown = parse(line); isTree(at); ) {
      const [key] = Object.keys(at)
      if (key === undefined) break
      path.push(key)
      at = at[key]
    }
    return path
  } catch {
    return undefined
  }
}

/** A text that looks like a table in a string with several lines, or a table that is written inline, would show here. */
function checked(path: string, edited: string, expected: Tree, what: string): string {
  let found: Tree | undefined
  try {
    found = parse(edited) as Tree
  } catch {
    // Said below.
  }
  if (found !== undefined && isDeepStrictEqual(plain(found), plain(expected))) return edited
  throw new Failure(
    `${path} is written in a way that this command can't change without a risk; nothing was changed. Add it by hand: ${what}`,
  )
}

/** Without the prototypes of either parser. */
function plain(tree: Tree): unknown {
  return JSON.parse(JSON.stringify(tree, (_, value) => (typeof value === 'bigint' ? String(value) : value)))
}
