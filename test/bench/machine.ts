import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { run } from '../e2e/exec.ts'

const ROOT = join(import.meta.dirname, '../..')

/** What the figures depend on, for the top of the page. */
export interface Machine {
  cores: number
  cpu: string
  memoryGB: number
  kernel: string
  node: string
  /** layerd's git revision, with `-dirty` where the tree has changes that are not committed. */
  revision: string
  /** Load average of the last minute before the start; figures of a busy machine are rough. */
  load: number
  date: string
}

/** @param root layerd's source tree */
export async function describeMachine(root = ROOT): Promise<Machine> {
  // Whoever owns the clone: only its revision is read.
  const git = ['-c', `safe.directory=${root}`, '-C', root, 'describe', '--always', '--dirty', '--abbrev=12']
  const revision = await run('git', git).catch(() => 'unknown')
  return {
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGB: Math.round(totalmem() / 1e9),
    kernel: release(),
    node: process.version,
    revision: revision.trim(),
    load: loadavg()[0] ?? Number.NaN,
    date: new Date().toISOString(),
  }
}

/** The facts in two lines. */
export function machineText({ cores, cpu, memoryGB, kernel, node, revision, load, date }: Machine): string {
  const busy = load > 0.5 ? ', which makes the figures rough' : ''
  return [
    `layerd ${revision}, Node ${node}, ${date}`,
    `${cores} x ${cpu}, ${memoryGB} GB, Linux ${kernel}, load before the start ${load.toFixed(2)}${busy}`,
  ].join('\n')
}
