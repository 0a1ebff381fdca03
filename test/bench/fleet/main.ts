import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { prepare, runJailed } from '../../e2e/jail.ts'
import { type Options, readOptions } from './options.ts'
import { RESULTS, SVG } from './results.ts'

// npm run bench:fleet [-- --help]: one image to many nodes at once, over shaped links that nothing leaves. Goals that are
// missed are marked and don't fail it.

const INSIDE = join(import.meta.dirname, 'inside.ts')

async function bench(options: Options, args: readonly string[]): Promise<number> {
  const ready = await prepare((line) => console.error(line))
  if (!('tools' in ready)) throw new Error(`networks of namespaces can't be built here: ${ready.reason}`)
  const folder = await mkdtemp(join(tmpdir(), 'layerd-fleet-'))
  try {
    // The jail keeps its working folder, and covers others that results may be meant for.
    process.chdir(folder)
    return await runJailed(ready.tools, process.execPath, [INSIDE, ...args])
  } finally {
    await keep(join(folder, RESULTS), options.json)
    await keep(join(folder, SVG), options.svg)
    process.chdir('/')
    if (options.keep) console.log(`logs of all daemons: ${folder}`)
    else await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function keep(file: string, wanted: string | undefined): Promise<void> {
  if (wanted === undefined || !existsSync(file)) return
  await mkdir(dirname(wanted), { recursive: true })
  await copyFile(file, wanted)
}

try {
  const args = process.argv.slice(2)
  const options = readOptions(args)
  if (typeof options === 'string') console.log(options)
  else process.exitCode = await bench(options, args)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
