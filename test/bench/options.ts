import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

export interface Options {
  /** Names of the sections to run; all of them when empty. */
  only: readonly string[]
  /** Runs of each contender. */
  runs: number
  /** Bytes of the blob that is pulled. */
  size: number
  /** File for the results, or `undefined`. */
  json: string | undefined
  /** Folder for CPU profiles of every layerd, or `undefined`. Profiling costs speed: such figures are not results. */
  profile: string | undefined
}

const USAGE = `npm run bench -- [options]
  --only NAME      run one section; repeatable
  --runs N         runs of each contender, 5 by default
  --size BYTES     size of the blob that is pulled, 400000000 by default; the memory section's is five times as large
  --json FILE      write the results there
  --profile DIR    write a CPU profile of every layerd there (open them in a browser's developer tools)
sections:`

/**
 * Reads the command line. Gives a text to print instead when help is asked for.
 *
 * @throws Error that says which argument is wrong.
 */
export function readOptions(args: readonly string[], sections: readonly { name: string; title: string }[]) {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true, default: [] },
      runs: { type: 'string', default: '5' },
      size: { type: 'string', default: '400000000' },
      json: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const names = sections.map((section) => section.name)
  if (values.help) return [USAGE, ...sections.map(({ name, title }) => `  ${name.padEnd(15)}${title}`)].join('\n')
  const unknown = values.only.find((name) => !names.includes(name))
  if (unknown !== undefined) throw new Error(`--only ${unknown}: the sections are ${names.join(', ')}`)
  const options: Options = {
    only: values.only,
    runs: positive('--runs', values.runs),
    size: positive('--size', values.size),
    json: values.json && resolve(values.json),
    profile: values.profile && resolve(values.profile),
  }
  return options
}

function positive(flag: string, text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text)) throw new Error(`${flag} ${text}: a positive whole number is needed`)
  return Number(text)
}
