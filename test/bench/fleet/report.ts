import { median } from '../measure.ts'
import { goalsOf } from './case.ts'
import type { CaseResult } from './measure-case.ts'
import type { NodeResult } from './race.ts'
import type { RunResult } from './run.ts'

const HEADER = [
  ...['', 'last', 'median', 'x limit', 'goal', 'upstream', 'x image', 'goal', 'frames'],
  ...['CPU/node', 'client', 'serving', 'memory', 'packets', 'idle'],
]
/** What is text and not a figure. */
const LEFT_COLUMNS = [0, 4, 7]

/** More of the machine's CPU than this in other hands is said. */
const MOST_FOR_OTHERS = 0.05

/** The results of a case, for a person. Figures are medians of the runs. */
export function caseText(result: CaseResult): string {
  const { title, size, rates, limit, contenders, failures } = result
  const rate = (name: string, bytes: number | undefined) => (bytes ? [`${name} ${(bytes / 1e6).toFixed(2)} MB/s`] : [])
  const measured = [
    ...rate('out of upstream', rates.upstream),
    ...rate('into a node', rates.down),
    ...rate('out of a node', rates.up),
    ...rate('into a slow node', rates.slowDown),
    ...rate('from site to site', rates.between),
  ]
  return [
    title,
    `  ${megabytes(size)}; one curl moves ${measured.join(', ')}; the limit is ${seconds(limit)}`,
    '',
    ...tableOf([HEADER, ...contenders.map(({ name, runs }) => cellsOf(result, name, runs))]).map((line) => `  ${line}`),
    ...contenders.flatMap(({ name, runs }) =>
      runs.flatMap((run, index) => notesOf(result, runs.length > 1 ? `${name}, run ${index + 1}` : name, run)),
    ),
    ...failures.map((failure) => `  FAILED: ${failure}`),
  ].join('\n')
}

function cellsOf({ case: fleetCase, size, limit }: CaseResult, name: string, runs: readonly RunResult[]): string[] {
  if (runs.length === 0) return [name, 'FAILED']
  const of = (read: (run: RunResult) => number | undefined) => median(runs.map((run) => read(run) ?? Number.NaN))
  const [last, sent] = [of((run) => run.last), of((run) => run.upstream.content)]
  const goals = name === 'layerd' ? goalsOf(fleetCase) : undefined
  const peak = of((run) => Math.max(...run.nodes.map((node) => node.peakMemory ?? 0)))
  return [
    name,
    Number.isNaN(last) ? 'not all' : seconds(last),
    seconds(of((run) => run.median)),
    figure(last / limit),
    goalText(last / limit, goals?.last),
    megabytes(sent),
    figure(sent / size),
    goalText(sent / size, goals?.upstream),
    megabytes(of((run) => run.upstream.frames)),
    ...(['daemon', 'client', 'serving'] as const).map((who) => seconds(1000 * of((run) => run.cpu[who]))),
    peak > 0 ? megabytes(peak) : '',
    percent(of((run) => run.machine.packets)),
    percent(of((run) => run.machine.idle)),
  ]
}

function goalText(ratio: number, most: number | undefined): string {
  if (most === undefined || !Number.isFinite(most)) return ''
  return `<= ${most} ${ratio <= most ? 'met' : 'MISSED'}`
}

/** What happened to single nodes. */
function notesOf({ case: fleetCase, rates, size }: CaseResult, name: string, run: RunResult): string[] {
  const notes: string[] = []
  const { nodes, killed, cutAt, between } = run
  if (between?.content !== undefined) {
    const [content, frames] = [between.content / size, between.frames / size]
    const goal = name.startsWith('layerd') ? `, ${goalText(content, goalsOf(fleetCase).between)}` : ''
    notes.push(`${figure(content)} of the image went from site to site${goal}; with frames ${figure(frames)}`)
  } else if (between) notes.push(`frames of ${figure(between.frames / size)} of the image went from site to site`)
  if (killed) {
    const left = nodes.filter((node) => node.killedAt === undefined)
    const done = left.filter((node) => node.finished !== undefined).length
    const who = `${nodes[killed.index]?.name}, which had fetched ${megabytes(killed.fetched)} from upstream`
    notes.push(`${who}, was killed after ${seconds(killed.at)}; of ${left.length} others ${done} finished`)
  }
  if (cutAt !== undefined) {
    const done = nodes.filter((node) => node.finished !== undefined).length
    const share = median(nodes.map((node) => bytesOf(node) / size))
    notes.push(`cut off after ${seconds(cutAt)}: ${done} nodes had finished, the middle one had ${percent(share)}`)
  }
  const { others } = run.machine
  if (others > MOST_FOR_OTHERS) notes.push(`other programs took ${percent(others)} of the CPU: the figures are rough`)
  for (const node of nodes.filter(({ slow }) => slow)) {
    const [ms, bytes] = node.progress.at(-1) ?? [0, 0]
    const share = bytes / ((rates.slowDown ?? 0) * (ms / 1000))
    notes.push(`slow ${node.name} had ${megabytes(bytes)} after ${seconds(ms)}: ${percent(share)} of what its link can`)
  }
  return notes.map((note) => `  ${name}: ${note}`)
}

function bytesOf({ progress }: NodeResult): number {
  return progress.at(-1)?.[1] ?? 0
}

function tableOf(rows: readonly (readonly string[])[]): string[] {
  const widths = HEADER.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return LEFT_COLUMNS.includes(column) ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd(),
  )
}

/** @param ms milliseconds */
function seconds(ms: number): string {
  return Number.isNaN(ms) ? '' : `${(ms / 1000).toFixed(1)} s`
}

function megabytes(bytes: number): string {
  return Number.isNaN(bytes) ? '' : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`
}

function figure(value: number): string {
  return Number.isNaN(value) ? '' : value.toFixed(2)
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`
}
