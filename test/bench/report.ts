import { median } from './measure.ts'

type Unit = 'MB/s' | 's' | 'ms' | 'MB'

interface Goal {
  /** What the limit is for: the ratio, or the figure itself. */
  of: 'ratio' | 'figure'
  atLeast?: number
  atMost?: number
}

/** A line of the table, as it is also written to the JSON file. */
export interface Row {
  what: string
  unit: Unit
  /** Median over the runs, in `unit`. */
  layerd: number
  baseline?: { name: string; figure: number }
  /** Median of the pairwise ratios, layerd's figure divided by the baseline's. */
  ratio?: number
  goal?: string
  met?: boolean
  note?: string
  samples: { layerd: readonly number[]; baseline?: readonly number[] }
}

interface Measured {
  what: string
  unit: Unit
  layerd: readonly number[]
  baseline?: { name: string; figures: readonly number[] }
  goal?: Goal
  note?: string
}

/** Sums up the runs of a comparison, or of a figure that stands alone. Runs with the same index are a pair. */
export function toRow({ what, unit, layerd, baseline, goal, note }: Measured): Row {
  const figure = median(layerd)
  const ratio = baseline && median(layerd.map((value, index) => value / (baseline.figures[index] ?? Number.NaN)))
  return {
    what,
    unit,
    layerd: figure,
    ...(baseline && { baseline: { name: baseline.name, figure: median(baseline.figures) } }),
    ...(ratio !== undefined && { ratio }),
    ...(goal && { goal: goalText(goal, unit), met: isMet(goal, goal.of === 'ratio' ? ratio : figure) }),
    ...(note && { note }),
    samples: { layerd, ...(baseline && { baseline: baseline.figures }) },
  }
}

function goalText({ of, atLeast, atMost }: Goal, unit: Unit): string {
  return `${atLeast === undefined ? '<=' : '>='} ${Number((atLeast ?? atMost)?.toFixed(2))} ${of === 'ratio' ? 'x' : unit}`
}

function isMet({ atLeast, atMost }: Goal, value = Number.NaN): boolean {
  return value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY)
}

const HEADER = ['what', 'layerd', 'baseline', '', 'ratio', 'goal', '']

/** The table for a person: figures flush right, notes below the row that they are for. */
export function tableOf(rows: readonly Row[]): string {
  const cells = [HEADER, ...rows.map(cellsOf)]
  const widths = HEADER.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const isFigure = (column: number) => [1, 2, 4].includes(column)
  const lines = cells.map((row) =>
    row
      .map((cell, column) => (isFigure(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
  const [header = '', ...body] = lines
  const rule = '-'.repeat(Math.max(...lines.map((line) => line.length)))
  const noted = body.flatMap((line, index) => [line, ...(rows[index]?.note ? [`    ${rows[index].note}`] : [])])
  return [header, rule, ...noted].join('\n')
}

function cellsOf({ what, unit, layerd, baseline, ratio, goal, met }: Row): string[] {
  return [
    what,
    `${round(layerd)} ${unit}`,
    baseline ? `${round(baseline.figure)} ${unit}` : '',
    baseline?.name ?? '',
    ratio === undefined ? '' : ratio.toFixed(2),
    goal ?? '',
    met === undefined ? '' : met ? 'met' : 'MISSED',
  ]
}

/** Three digits are more than the machine's noise allows for. */
function round(figure: number): string {
  return Math.abs(figure) >= 100 ? figure.toFixed(0) : Math.abs(figure) >= 10 ? figure.toFixed(1) : figure.toFixed(2)
}
