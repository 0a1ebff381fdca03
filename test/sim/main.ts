import { readOptions } from './options.ts'
import { report } from './report.ts'
import { simulate } from './simulate.ts'

// npm run sim [-- --help]: the plan of places and a choosing sender, for many nodes in one process.

const options = readOptions(process.argv.slice(2))
if (typeof options === 'string') process.stdout.write(`${options}\n`)
else {
  const { scenario, seeds, isJson } = options
  const startedAt = performance.now()
  const results = seeds.map((seed) => simulate({ ...scenario, seed }))
  const seconds = (performance.now() - startedAt) / 1000
  const text = isJson ? JSON.stringify(results, undefined, 2) : report(scenario, results, seconds)
  process.stdout.write(`${text}\n`)
  if (results.some(({ isComplete }) => !isComplete)) process.exitCode = 1
}
