import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Pair, parseDocument } from 'yaml'
import { type Layer, resolvePaths } from './layer.ts'
import type { Problem } from './problems.ts'
import { isTree, type Path, type Tree } from './tree.ts'

/** Nobody writes a megabyte of options; a blob that was named by mistake is not read into memory. */
const maxFileSize = 2 ** 20

const codes: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'the file may not be read by this user',
  EISDIR: 'this is a folder; expected a YAML file',
}

/** The text of a file, or the reason why it can't be had. */
function readText(file: string): { text: string } | { reason: string } {
  try {
    const descriptor = openSync(file, 'r')
    try {
      const { size } = fstatSync(descriptor)
      if (size > maxFileSize) return { reason: `the file has ${size} bytes; at most ${maxFileSize} are read` }
      return { text: readFileSync(descriptor, 'utf8') }
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException
    return { reason: codes[code] ?? message }
  }
}

/** Takes out what has no value: a section whose options are all commented out says nothing. */
function prune(tree: Tree, path: Path = []): Tree {
  const kept = Object.entries(tree).flatMap(([name, value]): [string, unknown][] => {
    // A name alone puts a registry on the list.
    if (value === null) return path.length === 1 && path[0] === 'registries' ? [[name, {}]] : []
    return [[name, isTree(value) ? prune(value, [...path, name]) : value]]
  })
  return Object.fromEntries(kept)
}

/** Offset in the text of the name of the option (or of the item) at a path; undefined where there is none. */
function offsetOf(document: Document, path: Path): number | undefined {
  let node: unknown = document.contents
  let offset: number | undefined
  for (const name of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isSeq(node)) {
      node = node.items[Number(name)]
      if (isScalar(node)) offset = node.range?.[0]
    } else if (isMap(node)) {
      const pair = node.items.find(
        (item): item is Pair => isScalar(item.key) && String(item.key.value) === String(name),
      )
      if (pair === undefined) return undefined
      if (isScalar(pair.key)) offset = pair.key.range?.[0]
      node = pair.value
    } else return undefined
  }
  return offset
}

/**
 * Reads a YAML file with options. Relative paths in it are relative to the file.
 * @param file absolute path
 */
export function readFileLayer(file: string, home: string): Layer {
  const nothing = (problems: readonly Problem[]): Layer => ({ values: {}, origin: () => file, problems })
  const content = readText(file)
  if ('reason' in content) return nothing([{ origin: file, path: '', message: content.reason }])

  const lines = new LineCounter()
  const document = parseDocument(content.text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  const mistakes = [...document.errors, ...document.warnings].map(({ pos, message }) => ({
    origin: at(pos[0]),
    path: '',
    message: message.split('\n')[0] ?? message,
  }))
  if (mistakes.length > 0) return nothing(mistakes)

  let root: unknown
  try {
    root = document.toJS()
  } catch (error) {
    // Aliases that multiply without end.
    return nothing([{ origin: file, path: '', message: (error as Error).message }])
  }
  if (root === null || root === undefined) return nothing([])
  if (!isTree(root) || !isNode(document.contents)) {
    return nothing([{ origin: at(0), path: '', message: 'expected options such as "dataDir: /var/lib/layerd"' }])
  }
  const values = prune(root)
  resolvePaths(values, { base: dirname(file), home })
  return {
    values,
    registryList: isTree(values.registries) ? Object.keys(values.registries) : undefined,
    origin: (path) => {
      const offset = offsetOf(document, path)
      return offset === undefined ? undefined : at(offset)
    },
    problems: [],
  }
}
