import { splitRegistry } from './environment.ts'
import { type Layer, resolvePaths } from './layer.ts'
import type { Problem } from './problems.ts'
import { type Path, setAt, type Tree, valueAt } from './tree.ts'

/** Flags as given on the command line, by their name in camel case; absent ones are undefined. */
export interface Flags {
  readonly listen?: string | undefined
  readonly admin?: string | undefined
  readonly p2pListen?: string | readonly string[] | undefined
  readonly transferListen?: string | readonly string[] | undefined
  readonly dataDir?: string | undefined
  readonly maxSize?: string | undefined
  readonly seed?: readonly string[] | undefined
  /** False for `--no-mdns`. */
  readonly mdns?: boolean | undefined
  readonly swarmKey?: string | undefined
  /** `NAME=URL`, added to the list of registries or changing the endpoint of an entry. */
  readonly registry?: readonly string[] | undefined
}

interface FlagOption {
  readonly name: keyof Flags
  /** As in a usage text: the flag and what comes after it. */
  readonly usage: string
  readonly path: readonly string[]
  readonly repeatable?: true
}

/** The options that have a flag, in the order in which help lists them. */
export const flagOptions: readonly FlagOption[] = [
  { name: 'listen', usage: '--listen <host:port>', path: ['registry', 'listen'] },
  { name: 'admin', usage: '--admin <host:port>', path: ['admin', 'listen'] },
  { name: 'p2pListen', usage: '--p2p-listen <host:port>', path: ['swarm', 'listen'], repeatable: true },
  {
    name: 'transferListen',
    usage: '--transfer-listen <host:port>',
    path: ['swarm', 'transferListen'],
    repeatable: true,
  },
  { name: 'dataDir', usage: '--data-dir <folder>', path: ['dataDir'] },
  { name: 'maxSize', usage: '--max-size <size>', path: ['store', 'maxSize'] },
  { name: 'seed', usage: '--seed <address>', path: ['swarm', 'seeds'], repeatable: true },
  { name: 'mdns', usage: '--no-mdns', path: ['swarm', 'mdns'] },
  { name: 'swarmKey', usage: '--swarm-key <file>', path: ['swarm', 'swarmKey'] },
  { name: 'registry', usage: '--registry <name=url>', path: ['registries'], repeatable: true },
]

/** `--seed <address>` -> `--seed`. */
export function flagText(flag: { readonly usage: string }): string {
  return flag.usage.split(' ')[0] ?? flag.usage
}

/** What the flags say. Relative paths in them are relative to the working directory. */
export function readFlagLayer(flags: Flags, cwd: string, home: string): Layer {
  const values: Tree = {}
  const problems: Problem[] = []
  for (const flag of flagOptions) {
    const value = flags[flag.name]
    if (value === undefined) continue
    if (flag.name !== 'registry') {
      setAt(values, flag.path, value)
      continue
    }
    for (const text of flags.registry ?? []) {
      const entry = splitRegistry(text)
      if ('message' in entry) problems.push({ origin: '--registry', path: 'registries', message: entry.message })
      else if (entry.endpoint === undefined) setAt(values, ['registries', entry.name], {})
      else setAt(values, ['registries', entry.name, 'endpoint'], entry.endpoint)
    }
  }
  resolvePaths(values, { base: cwd, home })
  const origin = (path: Path) => {
    const flag = flagOptions.find((option) => option.path.every((name, index) => path[index] === name))
    return flag !== undefined && valueAt(values, path) !== undefined ? flagText(flag) : undefined
  }
  return { values, origin, problems }
}
