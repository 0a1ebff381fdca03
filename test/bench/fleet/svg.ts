import type { CaseResult } from './measure-case.ts'
import type { NodeResult } from './race.ts'
import type { RunResult } from './run.ts'

const PANEL = { width: 420, height: 300, left: 48, right: 14, top: 48, bottom: 42 } as const
const PLOT = { width: PANEL.width - PANEL.left - PANEL.right, height: PANEL.height - PANEL.top - PANEL.bottom } as const
const HEADING = 30
const STYLE = `text{font:12px sans-serif;fill:#333}.heading{font-size:15px;font-weight:bold}.name{font-weight:bold}
.grid{stroke:#e4e4e4}.axis{stroke:#888}.node{fill:none;stroke-width:1.4}.limit{stroke:#000;stroke-width:1.6;stroke-dasharray:6 4}`

/** The progress of all nodes over time in the last run of each contender: a row for each case. */
export function drawCases(results: readonly CaseResult[]): string {
  // Titles are as wide as two panels.
  const columns = Math.max(2, ...results.map(({ contenders }) => contenders.length))
  const rowHeight = HEADING + PANEL.height
  const [width, height] = [columns * PANEL.width, Math.max(1, results.length) * rowHeight]
  const rows = results.map((result, row) => group(0, row * rowHeight, drawCase(result)))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}">`,
    `<style>${STYLE}</style><rect width="100%" height="100%" fill="#fff"/>`,
    ...rows,
    '</svg>\n',
  ].join('\n')
}

function drawCase(result: CaseResult): string {
  const { title, size, limit, contenders } = result
  const panels = contenders.flatMap(({ name, runs }) => {
    const run = runs.at(-1)
    return run ? [{ name, run }] : []
  })
  // One scale for the row, so that contenders can be compared at a glance.
  const end = 1.03 * Math.max(limit, ...panels.map(({ run }) => endOf(run)))
  return [
    `<text class="heading" x="${PANEL.left}" y="22">${escaped(`${title}: ${(size / 1e6).toFixed(0)} MB`)}</text>`,
    ...panels.map(({ name, run }, index) => group(index * PANEL.width, HEADING, drawRun(result, name, run, end))),
  ].join('\n')
}

/** @param end of the time axis, in ms */
function drawRun({ size, limit }: CaseResult, name: string, run: RunResult, end: number): string {
  const x = (ms: number) => round(PANEL.left + (ms / end) * PLOT.width)
  const y = (bytes: number) => round(PANEL.top + (1 - bytes / size) * PLOT.height)
  const [bottom, right] = [y(0), x(end)]
  const horizontal = [0, 25, 50, 75, 100].map((percent) => {
    const at = y((size * percent) / 100)
    return `<path class="grid" d="M${PANEL.left} ${at}H${right}"/>${label(`${percent}`, PANEL.left - 6, at + 4, 'end')}`
  })
  const vertical = ticks(end / 1000).map((second) => {
    const at = x(second * 1000)
    return `<path class="grid" d="M${at} ${PANEL.top}V${bottom}"/>${label(String(second), at, bottom + 15, 'middle')}`
  })
  return [
    `<text class="name" x="${PANEL.left}" y="18">${escaped(name)}</text>`,
    label(summaryOf(run, limit), PANEL.left, 36, 'start'),
    ...horizontal,
    ...vertical,
    `<path class="axis" fill="none" d="M${PANEL.left} ${PANEL.top}V${bottom}H${right}"/>`,
    ...run.nodes.map((node, index) => drawNode(node, colourOf(index, run.nodes.length), x, y)),
    `<path class="limit" d="M${x(0)} ${bottom}L${x(limit)} ${y(size)}"><title>fluid limit</title></path>`,
    label('seconds', PANEL.left + PLOT.width / 2, PANEL.height - 8, 'middle'),
    `<text text-anchor="middle" transform="translate(14 ${PANEL.top + PLOT.height / 2}) rotate(-90)">% of the image</text>`,
  ].join('\n')
}

function drawNode(node: NodeResult, colour: string, x: (ms: number) => number, y: (bytes: number) => number): string {
  const points = node.progress.map(([ms, bytes]) => `${x(ms)} ${y(bytes)}`)
  const [ms, bytes] = node.progress.at(-1) ?? [0, 0]
  const [atX, atY] = [x(ms), y(bytes)]
  const isDead = node.killedAt !== undefined || node.failure !== undefined
  const cross = `<path stroke="${colour}" stroke-width="2.5" d="M${atX - 5} ${atY - 5}l10 10m0 -10l-10 10"/>`
  const line = `<path class="node" stroke="${colour}" d="M${points.join('L')}"><title>${escaped(node.name)}</title></path>`
  if (isDead) return line + cross
  return node.slow ? line + label('slow', atX - 4, atY - 5, 'end') : line
}

function summaryOf({ last, cutAt }: RunResult, limit: number): string {
  const least = `dashed: the least possible, ${(limit / 1000).toFixed(1)} s`
  if (last !== undefined) return `last ${(last / 1000).toFixed(1)} s, ${(last / limit).toFixed(2)} x; ${least}`
  return `${cutAt === undefined ? 'not all finished' : `cut off at ${(cutAt / 1000).toFixed(0)} s`}; ${least}`
}

function endOf({ nodes }: RunResult): number {
  return Math.max(...nodes.map(({ progress }) => progress.at(-1)?.[0] ?? 0))
}

/** Five to ten round numbers up to the end. */
function ticks(end: number): number[] {
  const magnitude = 10 ** Math.floor(Math.log10(end / 5))
  const step = magnitude * ([1, 2, 5].filter((factor) => factor * magnitude * 5 <= end).at(-1) ?? 1)
  return Array.from({ length: Math.floor(end / step) + 1 }, (_, index) => Number((index * step).toPrecision(6)))
}

function colourOf(index: number, count: number): string {
  return `hsl(${Math.round((360 * index) / count)} 70% 42%)`
}

function label(text: string, x: number, y: number, anchor: 'start' | 'middle' | 'end'): string {
  return `<text x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(text)}</text>`
}

function group(x: number, y: number, content: string): string {
  return `<g transform="translate(${x} ${y})">${content}</g>`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function round(value: number): number {
  return Math.round(10 * value) / 10
}
