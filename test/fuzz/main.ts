import { inspect, parseArgs } from 'node:util'
import { fuzz } from './run.ts'
import { targets } from './targets/all.ts'

const usage = `npm run fuzz -- [--seed N] [--seconds N] [--inputs N] [--only PARSER] [--from N]

Gives each parser that reads from the network inputs that were made by chance from the seed, and says how many it took.

  --seed     what inputs are made from (default: one that changes)
  --inputs   for each parser (default: 1000000)
  --seconds  for each parser at most (default: no limit)
  --only     parsers whose name begins so
  --from     the first input, to repeat one`

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    inputs: { type: 'string', default: '1000000' },
    seconds: { type: 'string' },
    only: { type: 'string', default: '' },
    from: { type: 'string', default: '0' },
    help: { type: 'boolean', default: false },
  },
})

const print = (line: string) => process.stdout.write(`${line}\n`)

async function main(): Promise<void> {
  if (values.help) return void print(usage)
  const seed = Number(values.seed ?? Date.now() % 2 ** 31)
  const ms = values.seconds === undefined ? undefined : 1000 * Number(values.seconds)
  const chosen = targets.filter(({ name }) => name.startsWith(values.only))
  if (chosen.length === 0) throw new Error(`the parsers are ${targets.map(({ name }) => name).join(', ')}`)
  print(`seed ${seed}`)
  for (const target of chosen) {
    try {
      const result = await fuzz(target, { seed, from: Number(values.from), inputs: Number(values.inputs), ms })
      const [seconds, slowest] = [(result.ms / 1000).toFixed(1), result.slowest.toFixed(1)]
      const kept = `${(Math.max(0, result.kept) / 2 ** 20).toFixed(1)} MiB`
      print(
        `${target.name.padEnd(18)} ${`${result.inputs}`.padStart(8)} inputs, ${seconds} s, slowest ${slowest} ms, kept ${kept}`,
      )
    } catch (error) {
      process.exitCode = 1
      print(inspect(error))
    }
  }
}

await main()
