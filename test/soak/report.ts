import { availableParallelism } from 'node:os'
import { minute, type Violation } from './journal.ts'
import { REASONS, type Reason, type Sums } from './ledger.ts'
import type { Options } from './options.ts'

/** What a run came to. */
export interface Result {
  readonly options: Options
  /** Seconds that it took. */
  readonly seconds: number
  readonly isWhole: boolean
  /** The largest load average of the machine: where it is far above the number of cores, nodes are late because of that. */
  readonly load: number
  /** Times that each fault began. */
  readonly faults: Readonly<Record<string, number>>
  readonly pulls: {
    readonly images: number
    readonly blobs: number
    readonly bytes: number
    readonly ranges: number
    readonly heads: number
    readonly tags: number
    readonly hangUps: number
    /** ms for whole blobs: the median, the 99th of 100, and the longest. */
    readonly times: readonly number[]
  }
  readonly failed: Readonly<Record<string, number>>
  readonly upstream: {
    readonly bytes: Sums
    readonly requests: Readonly<Record<string, { times: number; bytes: number }>>
  }
  readonly peaks: Readonly<Record<string, { readonly memory: number; readonly files: number }>>
  /** Blobs that were on the disks at the end, and were read and compared. */
  readonly compared: number
  /** Warnings and errors of nodes, and how often they came. */
  readonly logged: Readonly<Record<string, number>>
  readonly violations: readonly Violation[]
  readonly violationCounts: Readonly<Record<string, number>>
  readonly folder: string
}

/** Lines of warnings and errors that are printed. */
const MAX_LOGGED = 25

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`

/** The result for people. */
export function reportText(result: Result): string {
  const { options, pulls, upstream, violations, folder } = result
  const again = `npm run soak -- --seed ${options.seed} --minutes ${options.minutes} --nodes ${options.nodes} --settle ${options.settle} --pace ${options.pace}`
  const [median = 0, late = 0, longest = 0] = pulls.times
  const sections: (readonly [string, readonly string[]])[] = [
    [
      'Run',
      [
        `${minute(result.seconds)} of ${options.minutes} minutes${result.isWhole ? '' : ', cut off'}, ${options.nodes} nodes, seed ${options.seed}`,
        `again: ${again}`,
        `load of the machine: up to ${result.load.toFixed(1)} on ${availableParallelism()} cores`,
        `logs: ${folder}`,
      ],
    ],
    ['Faults', counted(result.faults)],
    [
      'Clients',
      [
        `${pulls.images} images, ${pulls.blobs} whole blobs, ${pulls.ranges} ranges, ${mebibytes(pulls.bytes)}; ${pulls.tags} tags, ${pulls.heads} HEAD, ${pulls.hangUps} hung up`,
        `a whole blob took ${median.toFixed(0)} ms (median), ${late.toFixed(0)} ms (99 %), ${longest.toFixed(0)} ms (longest)`,
        `${result.compared} blobs on the disks of nodes were compared at the end`,
      ],
    ],
    ['Answers that failed, during faults as well', counted(result.failed)],
    [
      'Bytes of blobs from upstream',
      (Object.entries(REASONS) as [Reason, string][]).map(([reason, text]) => {
        const { bytes, times } = upstream.bytes[reason]
        return `${mebibytes(bytes).padStart(12)} ${text} (${times} times)`
      }),
    ],
    [
      'Requests to upstream',
      Object.entries(upstream.requests).map(([what, { times }]) => `${String(times).padStart(6)} ${what}`),
    ],
    [
      'Largest use',
      Object.entries(result.peaks).map(([node, { memory, files }]) => `${node}: ${mebibytes(memory)}, ${files} files`),
    ],
    ['Warnings and errors of nodes', counted(result.logged).slice(0, MAX_LOGGED)],
    [
      violations.length === 0 ? 'Violations: none' : 'Violations',
      [
        ...(violations.length === 0 ? [] : counted(result.violationCounts)),
        ...violations.map(
          ({ kind, at, who, text, log }) => `seed ${options.seed}, ${minute(at)}, ${who}: ${kind}: ${text} (${log})`,
        ),
      ],
    ],
  ]
  return sections.map(([title, lines]) => `${title}\n${lines.map((line) => `  ${line}\n`).join('')}`).join('\n')
}

function counted(counts: Readonly<Record<string, number>>): string[] {
  const sorted = Object.entries(counts).sort(([, a], [, b]) => b - a)
  return sorted.map(([what, times]) => `${String(times).padStart(6)} ${what}`)
}

/** The median, the 99th of 100, and the longest. */
export function spreadOf(times: readonly number[]): number[] {
  const sorted = [...times].sort((a, b) => a - b)
  return [0.5, 0.99, 1].map((part) => sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? 0)
}
