import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path/posix'
import { expect, test } from 'vitest'

/** The architecture as a test: which folder may import which, as DESIGN and ARCHITECTURE.md say. */

type Sources = ReadonlyMap<string, string>

interface Import {
  readonly from: string
  /** A path from the repository's root for our own files, otherwise the specifier. */
  readonly to: string
}

const specifierPatterns = [
  /^\s*(?:import|export)\b[^'"`;()]*?\bfrom\s*['"]([^'"]+)['"]/gm,
  /^\s*import\s*['"]([^'"]+)['"]/gm,
  /\bimport\(\s*['"]([^'"]+)['"]/g,
]

const withoutComments = (source: string) => source.replace(/^\s*(?:\/\/|\/?\*).*$/gm, '')

/** Static, type-only, re-exporting and dynamic imports of a file. */
function importsOf(from: string, source: string): Import[] {
  const code = withoutComments(source)
  return specifierPatterns
    .flatMap((pattern) => [...code.matchAll(pattern)])
    .map(([, specifier = '']) => ({ from, to: specifier.startsWith('.') ? join(dirname(from), specifier) : specifier }))
}

const isWithin = (path: string, folder: string) => path.startsWith(`${folder}/`)

interface Rule {
  readonly name: string
  readonly refuses: (file: Import) => boolean
}

const layers = ['config', 'proxy', 'daemon']
const layerOf = (path: string) => layers.indexOf(path.split('/')[0] ?? '')
const isOwn = (path: string) => /^(?:config|proxy|daemon|test)\//.test(path)

const rules: readonly Rule[] = [
  {
    name: 'imports go daemon -> proxy -> config, never back',
    refuses: ({ from, to }) => layerOf(to) > layerOf(from),
  },
  {
    name: 'production code imports nothing of test/ or above the repository',
    refuses: ({ to }) => to.startsWith('test/') || to.startsWith('..') || (isOwn(to) && !to.endsWith('.ts')),
  },
  {
    name: 'proxy/oci is vocabulary and imports nothing but itself',
    // Digests need a hash, which is arithmetic and no I/O.
    refuses: ({ from, to }) => isWithin(from, 'proxy/oci') && !isWithin(to, 'proxy/oci') && to !== 'node:crypto',
  },
  {
    name: 'daemon/store and daemon/swarm do not know each other',
    refuses: ({ from, to }) =>
      (isWithin(from, 'daemon/store') && isWithin(to, 'daemon/swarm')) ||
      (isWithin(from, 'daemon/swarm') && isWithin(to, 'daemon/store')),
  },
  {
    name: 'daemon/fetch is joined to the rest in daemon/main.ts only',
    refuses: ({ from, to }) =>
      isWithin(to, 'daemon/fetch') &&
      !['daemon/fetch', 'daemon/cli'].some((folder) => isWithin(from, folder)) &&
      from !== 'daemon/main.ts',
  },
  {
    name: 'daemon/local knows the store and nothing of peers',
    refuses: ({ from, to }) =>
      isWithin(from, 'daemon/local') && ['daemon/swarm', 'daemon/share'].some((folder) => isWithin(to, folder)),
  },
  {
    name: 'nothing imports daemon/cli',
    refuses: ({ from, to }) => isWithin(to, 'daemon/cli') && !isWithin(from, 'daemon/cli'),
  },
]

const packageOf = (specifier: string) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

function undeclared(imports: readonly Import[], dependencies: readonly string[]): string[] {
  return imports
    .filter(({ to }) => !isOwn(to) && !to.startsWith('..') && !to.startsWith('node:'))
    .filter(({ to }) => !dependencies.includes(packageOf(to)))
    .map(({ from, to }) => `${from} -> ${to}: production code imports declared dependencies only`)
}

/** The cycles that a walk from each file comes upon. */
function cycles(imports: readonly Import[]): string[] {
  const done = new Set<string>()
  const found: string[] = []
  const walk = (file: string, trail: readonly string[]) => {
    const start = trail.indexOf(file)
    if (start !== -1) found.push(`${[...trail.slice(start), file].join(' -> ')}: no cycles`)
    if (start !== -1 || done.has(file)) return
    for (const { to } of imports.filter(({ from }) => from === file)) walk(to, [...trail, file])
    done.add(file)
  }
  for (const { from } of imports) walk(from, [])
  return found
}

const maxLines = 300

function tooLong(sources: Sources): string[] {
  return [...sources]
    .map(([file, source]) => ({ file, lines: source.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > maxLines)
    .map(({ file, lines }) => `${file}: ${lines} lines; at most ${maxLines}`)
}

/** Imports whose target can't be read off the source escape every rule. */
function unreadable(sources: Sources): string[] {
  return [...sources]
    .filter(([, source]) => /\b(?:import|require)\(\s*[^'"\s)]/.test(withoutComments(source)))
    .map(([file]) => `${file}: dynamic imports name their target as a literal`)
}

/** Everything in which the sources (by path from the repository's root) break the architecture. */
function violations(sources: Sources, dependencies: readonly string[]): string[] {
  const imports = [...sources].flatMap(([file, source]) => importsOf(file, source))
  const broken = rules.flatMap(({ name, refuses }) =>
    imports.filter(refuses).map(({ from, to }) => `${from} -> ${to}: ${name}`),
  )
  return [
    ...broken,
    ...undeclared(imports, dependencies),
    ...cycles(imports),
    ...tooLong(sources),
    ...unreadable(sources),
  ]
}

const root = join(import.meta.dirname, '../..')

function production(): Sources {
  const files = globSync('{config,proxy,daemon}/**/*.ts', { cwd: root })
  return new Map(files.sort().map((file) => [file, readFileSync(join(root, file), 'utf8')]))
}

test('the sources keep to the architecture', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const sources = production()
  expect(sources.size).toBeGreaterThan(10)
  expect(violations(sources, Object.keys(manifest.dependencies))).toEqual([])
})

const broken: readonly [what: string, sources: Record<string, string>, expected: RegExp][] = [
  ['config importing proxy', { 'config/a.ts': `import { b } from '../proxy/b.ts'` }, /never back/],
  ['proxy importing daemon for a type', { 'proxy/a.ts': `import type { b } from '../daemon/b.ts'` }, /never back/],
  ['an import over several lines', { 'proxy/a.ts': `import {\n  b,\n  c,\n} from '../daemon/b.ts'` }, /never back/],
  ['a re-export', { 'config/a.ts': `export * from '../daemon/b.ts'` }, /never back/],
  ['an import for its effects', { 'config/a.ts': `import '../daemon/b.ts'` }, /never back/],
  ['a dynamic import', { 'config/a.ts': `const b = await import('../daemon/b.ts')` }, /never back/],
  ['a type import in place', { 'config/a.ts': `let b: import('../daemon/b.ts').B` }, /never back/],
  ['test code', { 'daemon/a.ts': `import { b } from '../test/b.ts'` }, /nothing of test/],
  ['the vocabulary doing I/O', { 'proxy/oci/a.ts': `import fs from 'node:fs'` }, /vocabulary/],
  ['the vocabulary knowing routes', { 'proxy/oci/a.ts': `import { b } from '../routes/b.ts'` }, /vocabulary/],
  ['the store knowing the swarm', { 'daemon/store/a.ts': `import { b } from '../swarm/b.ts'` }, /know each other/],
  ['the swarm knowing the store', { 'daemon/swarm/x/a.ts': `import { b } from '../../store/b.ts'` }, /know each other/],
  ['the store knowing fetch', { 'daemon/store/a.ts': `import { b } from '../fetch/b.ts'` }, /main\.ts only/],
  ['local images knowing peers', { 'daemon/local/a.ts': `import { b } from '../swarm/b.ts'` }, /nothing of peers/],
  ['main knowing the command line', { 'daemon/main.ts': `import { b } from './cli/b.ts'` }, /imports daemon\/cli/],
  ['a package not declared', { 'daemon/a.ts': `import { b } from '@scope/other/sub'` }, /declared dependencies/],
  [
    'a cycle of three',
    {
      'daemon/a.ts': `import './b.ts'`,
      'daemon/b.ts': `import type { C } from './c.ts'`,
      'daemon/c.ts': `export { a } from './a.ts'`,
    },
    /daemon\/a\.ts -> daemon\/b\.ts -> daemon\/c\.ts -> daemon\/a\.ts: no cycles/,
  ],
  ['a long file', { 'daemon/a.ts': 'x\n'.repeat(301) }, /301 lines/],
  ['a target that is computed', { 'daemon/a.ts': `await import(name)` }, /literal/],
]

test.each(broken)('%s is refused', (_what, sources, expected) => {
  const found = violations(new Map(Object.entries(sources)), ['@scope/declared'])
  expect(found).toEqual([expect.stringMatching(expected)])
})

test('what is allowed passes', () => {
  const sources = {
    'config/a.ts': `import { z } from '@scope/declared/sub'\nimport fs from 'node:fs'\n${'x\n'.repeat(298)}`,
    'proxy/oci/a.ts': `import { b } from './b.ts'\n/**\n * import { c } from '../../daemon/c.ts'\n */`,
    'proxy/a.ts': `import { a } from '../config/a.ts'`,
    'daemon/swarm/a.ts': `import { a } from '../../proxy/a.ts'\n// import { c } from '../store/c.ts'`,
    'daemon/main.ts': `import { a } from './fetch/a.ts'`,
    'daemon/cli/a.ts': `await import('../main.ts')`,
  }
  expect(violations(new Map(Object.entries(sources)), ['@scope/declared'])).toEqual([])
})
