import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { prepare, runJailed } from '../e2e/jail.ts'
import { type Options, readOptions, toArguments } from './options.ts'
import { type Result, reportText } from './report.ts'

// npm run soak [-- --help]: a small fleet in which everything fails that can, at random and seeded, for an hour. Networks, disks and
// processes are made inside a jail, and go with it, however it ends.

async function soak(options: Options): Promise<number> {
  const ready = await prepare((line) => console.error(line))
  if (!('tools' in ready)) throw new Error(`a fleet of namespaces and disks can't be made here: ${ready.reason}`)
  const folder = resolve(options.folder ?? (await mkdtemp(join(tmpdir(), 'layerd-soak-'))))
  await mkdir(folder, { recursive: true })
  console.log(`seed ${options.seed}, ${options.minutes} minutes, ${options.nodes} nodes; logs: ${folder}`)
  let code = 1
  try {
    code = await runJailed(ready.tools, process.execPath, [
      join(import.meta.dirname, 'inside.ts'),
      ...toArguments({ ...options, folder }),
    ])
  } finally {
    const file = join(folder, 'report.json')
    if (existsSync(file)) {
      const text = reportText(JSON.parse(readFileSync(file, 'utf8')) as Result)
      writeFileSync(join(folder, 'report.txt'), text)
      console.log(`\n${text}`)
    }
  }
  return code
}

try {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    throw new Error('npm run soak needs Linux and root: it makes network namespaces and mounts disks')
  const options = readOptions(process.argv.slice(2))
  if (typeof options === 'string') console.log(options)
  else process.exitCode = await soak(options)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
