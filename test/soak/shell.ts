import { run } from '../e2e/exec.ts'
import { ipProgram } from '../fixtures/ip.ts'

/** Longest that a command on interfaces or disks may take, in ms. */
const COMMAND_MS = 30_000

/** Runs lines of ip's batch mode in a network namespace. @throws {Error} with what ip said */
export async function ip(namespace: string, ...lines: readonly string[]): Promise<void> {
  await run(await ipProgram(), ['-n', namespace, '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    deadlineMs: COMMAND_MS,
  })
}

export async function makeNamespace(name: string): Promise<void> {
  await run(await ipProgram(), ['netns', 'add', name], { deadlineMs: COMMAND_MS })
}

/** Words before a command that is to run in a network namespace. nsenter becomes the command, so signals reach it. */
export function within(namespace: string): readonly [program: string, ...args: string[]] {
  return ['nsenter', `--net=/run/netns/${namespace}`]
}

/** Runs a script to its end. @returns what it printed @throws {Error} with what it said */
export function shell(script: string): Promise<string> {
  return run('sh', ['-c', script], { deadlineMs: COMMAND_MS })
}
