import { pino } from 'pino'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { REPEAT_MS, SILENT_MS } from '../../../../daemon/swarm/discovery/constants.ts'
import { SeedWatch } from '../../../../daemon/swarm/discovery/seed-watch.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function setUp(seeds: readonly string[] = ['a:1', 'b:1', 'self:1']) {
  const lines: string[] = []
  const log = pino({ level: 'info', base: null }, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  const watch = new SeedWatch({ seeds, connectionCount: () => 0, log })
  if (seeds.includes('self:1')) watch.note('self:1', { kind: 'self' })
  return { watch, lines }
}

const reached = { kind: 'reached' } as const
const failed = (problem: string) => ({ kind: 'failed', problem }) as const

test('says once that no seed has answered for a while, and once that one does', () => {
  const { watch, lines } = setUp()
  watch.note('a:1', failed('refused'))
  vi.advanceTimersByTime(SILENT_MS)
  // Of the other one nothing is known.
  expect([lines, watch.problem]).toEqual([[], undefined])
  watch.note('b:1', failed('no such name'))
  vi.advanceTimersByTime(SILENT_MS - 1)
  expect([lines, watch.problem]).toEqual([[], undefined])
  for (let round = 0; round < 3; round++) {
    vi.advanceTimersByTime(1000)
    watch.note('a:1', failed('refused'))
  }
  expect(lines).toEqual(['no seed answers (swarm.seeds); this node has no peers and fetches alone'])
  expect(watch.problem).toBe(`no seed has answered for ${SILENT_MS / 1000 + 3} s: a:1: refused; b:1: no such name`)
  expect(watch.status).toEqual([
    { seed: 'a:1', reached: false, isSelf: false, problem: 'refused' },
    { seed: 'b:1', reached: false, isSelf: false, problem: 'no such name' },
    { seed: 'self:1', reached: false, isSelf: true, problem: undefined },
  ])
  watch.note('b:1', reached)
  watch.note('b:1', reached)
  expect(lines.slice(1)).toEqual(['a seed answers again'])
  expect([watch.problem, watch.status[1]]).toEqual([
    undefined,
    { seed: 'b:1', reached: true, isSelf: false, problem: undefined },
  ])
})

test('says it again where the reasons are others, now and then', () => {
  const { watch, lines } = setUp(['a:1'])
  watch.note('a:1', failed('refused'))
  vi.advanceTimersByTime(SILENT_MS)
  watch.note('a:1', failed('no route'))
  expect(lines).toHaveLength(1)
  vi.advanceTimersByTime(REPEAT_MS + 1)
  watch.note('a:1', failed('refused'))
  expect(lines).toHaveLength(1)
  watch.note('a:1', failed('no route'))
  expect(lines).toHaveLength(2)
})

test('has nothing to say without seeds, or where they answer in time', () => {
  expect(setUp([]).watch).toMatchObject({ problem: undefined, status: [] })
  const { watch, lines } = setUp()
  for (const outcome of [failed('refused'), reached]) for (const seed of ['a:1', 'b:1']) watch.note(seed, outcome)
  vi.advanceTimersByTime(2 * SILENT_MS)
  expect([lines, watch.problem]).toEqual([[], undefined])
})

test('has nothing to say where all seeds are this node itself, and nothing is reached then', () => {
  const { watch, lines } = setUp(['self:1'])
  vi.advanceTimersByTime(2 * SILENT_MS)
  expect([lines, watch.problem, watch.status]).toEqual([
    [],
    undefined,
    [{ seed: 'self:1', reached: false, isSelf: true, problem: undefined }],
  ])
})
