import { parseArgs } from 'node:util'

const USAGE = `npm run soak -- [options]      (Linux, as root)
  --minutes M    how long, 60 by default
  --seed N       the same seed makes the same faults, images and clients; at random by default
  --nodes N      nodes of the fleet, 3 to 12, 5 by default
  --settle S     seconds in which the fleet has to be well again after a fault, 30 by default
  --pace P       how busy clients are, 1 by default; 2 pulls twice as often
  --folder F     where logs and the report go, a new folder of the temporary one by default`

export interface Options {
  readonly minutes: number
  readonly seed: number
  readonly nodes: number
  /** Seconds. */
  readonly settle: number
  readonly pace: number
  readonly folder: string | undefined
}

/** Reads the command line; gives a text to print instead when help is asked for. @throws {Error} that says what is wrong */
export function readOptions(args: readonly string[]): Options | string {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ minutes: text, seed: text, nodes: text, settle: text, pace: text, folder: text },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return USAGE
  return {
    minutes: number('minutes', values.minutes, 60, 0.5, 24 * 60),
    seed: Math.floor(number('seed', values.seed, Math.floor(Math.random() * 1e6), 0, 2 ** 32 - 1)),
    nodes: Math.floor(number('nodes', values.nodes, 5, 3, 12)),
    settle: number('settle', values.settle, 30, 5, 600),
    pace: number('pace', values.pace, 1, 0.01, 100),
    folder: values.folder,
  }
}

/** The same options for the part that runs inside the jail, with what was drawn or made. */
export function toArguments(options: Options): string[] {
  const named = Object.entries(options).filter(([, value]) => value !== undefined)
  return named.flatMap(([name, value]) => [`--${name}`, String(value)])
}

function number(name: string, value: string | undefined, otherwise: number, least: number, most: number): number {
  const read = value === undefined ? otherwise : Number(value)
  if (value === '' || !(read >= least && read <= most))
    throw new Error(`--${name} takes a number from ${least} to ${most}, not '${value}'; see --help`)
  return read
}
