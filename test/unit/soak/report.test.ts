import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tempDir } from '../../fixtures/temp-dir.ts'
import { Journal } from '../../soak/journal.ts'
import { Ledger } from '../../soak/ledger.ts'
import { warningsIn } from '../../soak/logs.ts'
import { readOptions, toArguments } from '../../soak/options.ts'
import { type Result, reportText, spreadOf } from '../../soak/report.ts'

describe('the report of a soak', () => {
  it('says for each violation which seed, minute and log file to look at, and how to run it again', async () => {
    const folder = await tempDir()
    const journal = new Journal(folder)
    journal.violate('not ready', 'node2', 'for 31 s')
    journal.violate('upstream gave too much', 'fleet', '10 bytes again')
    const options = readOptions(['--seed', '12', '--minutes', '3', '--nodes', '4'])
    if (typeof options === 'string') throw new Error(options)
    const result: Result = {
      ...{
        options,
        folder,
        seconds: 180,
        isWhole: true,
        faults: { killed: 3 },
        failed: {},
        peaks: {},
        logged: {},
        compared: 5,
        load: 3.5,
      },
      pulls: { images: 1, blobs: 2, bytes: 3, ranges: 4, heads: 5, tags: 6, hangUps: 7, times: [1, 2, 3] },
      upstream: { bytes: new Ledger().sums, requests: {} },
      violations: journal.violations,
      violationCounts: Object.fromEntries(journal.counts),
    }
    const text = reportText(result)
    expect(text).toContain(`seed 12, 0:00, node2: not ready: for 31 s (${join(folder, 'node2.log')})`)
    expect(text).toContain(`10 bytes again (${join(folder, 'journal.jsonl')})`)
    expect(text).toContain('npm run soak -- --seed 12 --minutes 3 --nodes 4 --settle 30')
    expect(text).toMatch(/3 killed/)
    expect(reportText({ ...result, violations: [] })).toContain('Violations: none')
  })

  it('takes the longest of few times as the 99th of 100, and nothing where nothing was measured', () => {
    expect(spreadOf([3, 1, 2])).toEqual([2, 3, 3])
    expect(spreadOf([])).toEqual([0, 0, 0])
  })

  it('counts warnings and errors of a log without what is different each time', async () => {
    const file = join(await tempDir(), 'log')
    const lines = [
      { level: 'info', msg: 'request' },
      ...[1, 2].map((n) => ({ level: 'warn', msg: `seed 10.0.0.${n} is silent` })),
    ]
    await writeFile(file, `${lines.map((line) => JSON.stringify(line)).join('\n')}\nSegmentation fault\n`)
    const counts = new Map<string, number>()
    await warningsIn(file, counts)
    expect([...counts]).toEqual([
      ['warn: seed N is silent', 2],
      ['not a log line: Segmentation fault', 1],
    ])
  })
})

describe('the options of a soak', () => {
  it('are the same inside the jail, a seed that was drawn included', () => {
    const options = readOptions(['--minutes', '1', '--folder', '/tmp/x'])
    if (typeof options === 'string') throw new Error(options)
    expect(readOptions(toArguments(options))).toEqual(options)
  })

  it('are refused where they make no sense', () => {
    expect(readOptions(['--help'])).toContain('--minutes')
    for (const wrong of [['--minutes', 'x'], ['--nodes', '2'], ['--seed=-1'], ['--settle', '']])
      expect(() => readOptions(wrong)).toThrow(/takes a number/)
  })
})
