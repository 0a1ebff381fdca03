import { readOptions } from './options.ts'
import { report } from './report.ts'
import { simulate } from './simulate.ts'

// npm run sim [-- --help]: many nodes in one process, with the real session, picker and claim book.

const options = readOptions(process.argv.slice(2))
if (typeof options === 'string') process.stdout.write(`${options}\n`)
else {
  const startedAt = performance.now()
  const result = simulate(options.scenario)
  const counters = { ...result.counters, liarChunks: Object.fromEntries(result.counters.liarChunks) }
  const seconds = (performance.now() - startedAt) / 1000
  const text = options.isJson ? JSON.stringify({ ...result, counters }, undefined, 2) : report(result, seconds)
  process.stdout.write(`${text}\n`)
  if (!result.isComplete) process.exitCode = 1
}
