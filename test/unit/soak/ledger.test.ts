import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { tempDir } from '../../fixtures/temp-dir.ts'
import { type Giving, type Holding, holdingOf, Ledger, type Moment } from '../../soak/ledger.ts'

const MiB = 2 ** 20

/** Three well nodes, of which some hold the blob, and some have a fault. */
function moment(holds: Record<string, Holding> = {}, ill: readonly string[] = [], isFailing = false): Moment {
  const nodes = ['a', 'b', 'c'].map((name) => ({ name, isWell: !ill.includes(name), holds: holds[name] }))
  return { isFailing, nodes }
}

const giving = (node: string, given: Partial<Giving> = {}): Giving => ({
  ...{ node, digest: 'sha256:1', start: 0, bytes: MiB, moment: moment(), isBroken: false },
  ...given,
})

describe('the books of upstream', () => {
  it('lets each byte be given once for the fleet, in parts and in any order', () => {
    const ledger = new Ledger()
    expect(ledger.add(giving('a', { start: MiB }))).toBeUndefined()
    expect(ledger.add(giving('b', { start: 0 }))).toBeUndefined()
    expect(ledger.add(giving('b', { start: 5 * MiB, digest: 'sha256:2' }))).toBeUndefined()
    expect(ledger.sums.first).toEqual({ bytes: 3 * MiB, times: 3 })
  })

  it('counts only what overlaps as given again, and a byte that was given twice before once', () => {
    const ledger = new Ledger()
    ledger.add(giving('a'))
    ledger.add(giving('a', { bytes: MiB / 2 }))
    const again = ledger.add(giving('b', { start: MiB / 4, bytes: 2 * MiB, moment: moment({ a: 'whole' }) }))
    expect(again).toEqual({ reason: 'unexplained', bytes: 0.75 * MiB })
    expect(ledger.sums.first.bytes).toBe(2.25 * MiB)
  })

  const cases: [string, Giving, string][] = [
    ['a well node has it', giving('b', { moment: moment({ a: 'whole' }) }), 'unexplained'],
    ['a well node is getting it', giving('b', { moment: moment({ c: 'part' }) }), 'unexplained'],
    ['the node itself has it', giving('b', { moment: moment({ b: 'whole' }) }), 'unexplained'],
    ['nobody has it any more', giving('b'), 'nobody'],
    ['whoever has it has a fault', giving('b', { moment: moment({ a: 'whole' }, ['a']) }), 'holderFault'],
    [
      'one of two that have it has a fault',
      giving('b', { moment: moment({ a: 'whole', c: 'part' }, ['a']) }),
      'unexplained',
    ],
    ['whoever asks has a fault', giving('b', { moment: moment({ a: 'whole' }, ['b']) }), 'ownFault'],
    ['upstream fails', giving('b', { moment: moment({ a: 'whole' }, [], true) }), 'failing'],
    ['upstream fails, and nobody has it', giving('b', { moment: moment({}, [], true) }), 'nobody'],
    ['it is cut off', giving('b', { moment: moment({ a: 'whole' }), isBroken: true }), 'failing'],
  ]
  for (const [name, again, reason] of cases) {
    it(`gives a reason for what is given again: ${name}`, () => {
      const ledger = new Ledger()
      ledger.add(giving('a'))
      expect(ledger.add(again)).toEqual({ reason, bytes: MiB })
    })
  }

  it('explains what has to be given again by a body that was cut off before, and only once', () => {
    const ledger = new Ledger()
    ledger.add(giving('a', { isBroken: true }))
    expect(ledger.add(giving('b', { moment: moment({ c: 'part' }) }))?.reason).toBe('cut')
    expect(ledger.add(giving('c', { moment: moment({ b: 'whole' }) }))?.reason).toBe('unexplained')
  })

  it('lets a node ask for what its own part lacks, but not twice for the same', () => {
    const ledger = new Ledger()
    ledger.add(giving('a'))
    const own = moment({ a: 'whole', b: 'part' }, ['a'])
    expect(ledger.add(giving('b', { moment: own }))?.reason).toBe('holderFault')
    expect(ledger.add(giving('b', { moment: own }))?.reason).toBe('unexplained')
  })

  it('reads from the disk of a node what it has', async () => {
    const folder = await tempDir()
    for (const name of ['sha256', 'partial']) await mkdir(join(folder, 'blobs', name), { recursive: true })
    await writeFile(join(folder, 'blobs/sha256/aa'), '')
    await writeFile(join(folder, 'blobs/partial/sha256-bb.data'), '')
    expect(['aa', 'bb', 'cc'].map((hex) => holdingOf(folder, `sha256:${hex}`))).toEqual(['whole', 'part', undefined])
  })
})
