import { writeFile } from 'node:fs/promises'
import { jail } from '../../e2e/jail.ts'
import { describeMachine, machineText } from '../machine.ts'
import { makeBed } from './bed.ts'
import { type CaseResult, measureCase } from './measure-case.ts'
import { type Options, readOptions } from './options.ts'
import { caseText } from './report.ts'
import { RESULTS, SVG } from './results.ts'
import { drawCases } from './svg.ts'

// The bench itself, which main.ts runs inside a jail. Results go into the working folder, which outlives the jail.

async function measure(options: Options): Promise<boolean> {
  const here = jail()
  if (!here)
    throw new Error('run it by npm run bench:fleet: it builds networks, and only in a jail they go away with it')
  const machine = await describeMachine(options.source)
  console.log(`${machineText(machine)}\n`)
  const bed = await makeBed(here.tools, here.work, options)
  const results: CaseResult[] = []
  const failed: string[] = []
  for (const fleetCase of options.cases) {
    try {
      const result = await measureCase(bed, fleetCase, options)
      results.push(result)
      console.log(`${caseText(result)}\n`)
      failed.push(...result.failures)
    } catch (error) {
      failed.push(error instanceof Error ? error.message : String(error))
      console.log(`FAILED: ${failed.at(-1)}\n`)
    }
    // After each case: what was measured until an interrupt is kept.
    const { size, layers, runs } = options
    await writeFile(RESULTS, `${JSON.stringify({ machine, size, layers, runs, cases: results, failed }, null, 1)}\n`)
    await writeFile(SVG, drawCases(results))
  }
  return failed.length === 0
}

const options = readOptions(process.argv.slice(2))
if (typeof options === 'string' || !(await measure(options))) process.exitCode = 1
