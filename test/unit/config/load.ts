import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Environment } from '../../../config/environment.ts'
import type { Flags } from '../../../config/flags.ts'
import { loadConfig } from '../../../config/load.ts'
import { ConfigError } from '../../../config/problems.ts'
import type { Config } from '../../../config/schema.ts'

/** What a test gives: the text of a file, variables, flags, and files beside the file. */
export interface Given {
  readonly yaml?: string
  readonly env?: Environment
  readonly flags?: Flags
  readonly files?: Readonly<Record<string, string>>
  readonly home?: string
}

export const home = '/home/test'

/** Loads a configuration from a folder of its own; "FOLDER" in `expected` texts stands for it. */
export function load({ yaml, env = {}, flags = {}, files = {}, home: homeFolder = home }: Given): Config {
  const folder = mkdtempSync(join(tmpdir(), 'layerd-config-'))
  try {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), text)
    }
    if (yaml !== undefined) writeFileSync(join(folder, 'layerd.yaml'), yaml)
    const file = yaml === undefined ? undefined : 'layerd.yaml'
    return loadConfig({ file, env, flags, cwd: folder, home: homeFolder })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The problems of a configuration as `origin|path|message`, with the folder left out; empty if there are none. */
export function problems(given: Given): string[] {
  try {
    load(given)
    return []
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const withoutFolder = (text: string) => text.replace(/\/\S*layerd-config-\w+\//g, '')
    return error.problems.map(({ origin, path, message }) => withoutFolder(`${origin}|${path}|${message}`))
  }
}
