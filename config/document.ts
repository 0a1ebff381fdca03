import { Document, stringify } from 'yaml'
import { flagOptions, flagText } from './flags.ts'
import { type Member, type Option, optionTree, variableOf } from './options.ts'
import { isTree } from './tree.ts'

const lineLength = 116

/** Text as comment lines of a readable length. */
function comment(text: string, indent: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && `${indent}# ${line} ${word}`.length > lineLength) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].map((part) => `${indent}# ${part}`)
}

/** A single value or list as YAML on one line. */
function inline(value: unknown): string {
  const document = new Document(value)
  if (Array.isArray(value)) return document.toString({ collectionStyle: 'flow', lineWidth: 0 }).trim()
  return document.toString({ lineWidth: 0 }).trim()
}

/** What a value looks like, without the examples. */
const form = ({ expectation }: Option) => expectation.replace(/ such as .*| \(.*/, '')

const indentOf = (path: readonly string[]) => '  '.repeat(path.length - 1)

function optionLines(option: Option): string[] {
  const indent = indentOf(option.path)
  const name = option.path.at(-1)
  const flag = flagOptions.find(({ path }) => path.join('.') === option.path.join('.'))
  const names = [variableOf(option.path), ...(flag === undefined ? [] : [flagText(flag)])].join(', ')
  const text = [...comment(option.help, indent), ...comment(`(${form(option)}; ${names})`, indent)]
  if (option.fallback === undefined) return [...text, `${indent}# ${name}:`]
  return [...text, `${indent}${name}: ${inline(option.fallback)}`]
}

/** One option of an entry, on lines of comment. */
function entryLines(option: Option): string[] {
  const value = option.fallback === undefined ? '' : `, by default ${inline(option.fallback)}`
  return comment(`- ${option.path[0]} (${form(option)}${value}): ${option.help}`, '')
}

function lines(member: Member): string[] {
  if (member.type === 'option') return ['', ...optionLines(member)]
  const indent = indentOf(member.path)
  const heading = ['', ...(member.help === '' ? [] : comment(member.help, indent))]
  const name = `${indent}${member.path.at(-1)}:`
  if (member.type === 'section') {
    const [first = [], ...rest] = member.members.map(lines)
    // A section without values would be none.
    const isEmpty = member.members.every((one) => one.type === 'option' && one.fallback === undefined)
    return [...heading, isEmpty ? `${indent}# ${member.path.at(-1)}:` : name, ...first.slice(1), ...rest.flat()]
  }
  const entries = isTree(member.fallback) ? stringify(member.fallback, { lineWidth: 0 }).trimEnd().split('\n') : []
  return [
    ...heading,
    ...comment(
      `NAME=URL (a pattern alone), comma separated: ${variableOf(member.path)} (replaces the list), --registry (adds to it).`,
      '',
    ),
    ...comment(
      'An entry without an endpoint gets the well-known one, or https:// and its name. Options of an entry:',
      '',
    ),
    ...member.entry.flatMap(entryLines),
    ...comment(
      'Each has a variable, such as LAYERD_REGISTRIES_GHCR_IO_PASSWORD for the password of ghcr.io; those of patterns do not.',
      '',
    ),
    name,
    ...entries.map((line) => `  ${line}`),
  ]
}

/** All options with their defaults and help as YAML: the text of `config/default.yaml`. */
export function defaultDocument(): string {
  const introduction = [
    '# Every option of layerd with its default. Written by `layerd config --defaults`: change config/schema.ts instead.',
    '#',
    '# Stronger than this file are the variables named below (lists: comma separated), and stronger than those are flags.',
    '# Sizes: B, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024); a bare number is bytes.',
    '# Durations: ms, s, m, h, d. Relative paths are relative to the file that they are in; ~ is the home directory.',
  ]
  return `${[...introduction, ...optionTree.flatMap(lines)].join('\n')}\n`
}
