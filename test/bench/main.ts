import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { Bench, LeftOut, type Section } from './bench.ts'
import { describeMachine, machineText } from './machine.ts'
import { type Options, readOptions } from './options.ts'
import { type Row, tableOf } from './report.ts'
import { advertise } from './sections/advertise.ts'
import { cold } from './sections/cold.ts'
import { floods } from './sections/floods.ts'
import { hostile } from './sections/hostile.ts'
import { lookup } from './sections/lookup.ts'
import { memory } from './sections/memory.ts'
import { peer } from './sections/peer.ts'
import { push } from './sections/push.ts'
import { start } from './sections/start.ts'
import { warm } from './sections/warm.ts'

// npm run bench [-- --help]: what layerd is to reach, measured on this machine. Goals that are missed don't fail it.

const SECTIONS: readonly Section[] = [warm, cold, push, peer, lookup, advertise, start, memory, floods, hostile]

interface Outcome {
  rows: Row[]
  leftOut: string[]
  failed: string[]
}

async function runSections(options: Options, folder: string): Promise<Outcome> {
  const outcome: Outcome = { rows: [], leftOut: [], failed: [] }
  const chosen = SECTIONS.filter(({ name }) => options.only.length === 0 || options.only.includes(name))
  for (const { name, run } of chosen) {
    const own = join(folder, name)
    await mkdir(own)
    const log = (line: string) => console.error(`${name}: ${line}`)
    const leaveOut = (reason: string) => outcome.leftOut.push(`${name}: ${reason}`)
    try {
      outcome.rows.push(...(await run(new Bench(options, own, log, leaveOut))))
    } catch (error) {
      if (error instanceof LeftOut) leaveOut(error.message)
      else outcome.failed.push(`${name}: ${error instanceof Error ? error.message : error}`)
    } finally {
      await rm(own, { recursive: true, force: true, maxRetries: 3 })
    }
  }
  return outcome
}

async function main(options: Options): Promise<void> {
  const machine = await describeMachine()
  console.log(`${machineText(machine)}\n`)
  const folder = await mkdtemp(join(tmpdir(), 'layerd-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))
  // Ends by way of the exit handlers, which stop the daemons and remove their data.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))
  const { rows, leftOut, failed } = await runSections(options, folder)
  const { runs, size } = options
  console.log(`Medians of ${runs} runs in turn (A B A B); the ratio is the median of the runs' own.\n`)
  console.log(tableOf(rows))
  for (const reason of leftOut) console.log(`\nleft out: ${reason}`)
  for (const reason of failed) console.log(`\nFAILED: ${reason}`)
  if (options.json) {
    await mkdir(dirname(options.json), { recursive: true })
    await writeFile(options.json, `${JSON.stringify({ machine, runs, size, rows, leftOut, failed }, null, 2)}\n`)
  }
  if (failed.length > 0 || (process.env.CI && leftOut.length > 0)) process.exitCode = 1
}

try {
  const options = readOptions(process.argv.slice(2), SECTIONS)
  if (typeof options === 'string') console.log(options)
  else await main(options)
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
