import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { tempDir } from '../../fixtures/temp-dir.ts'
import { Health } from '../../soak/health.ts'
import { Journal } from '../../soak/journal.ts'
import type { Node } from '../../soak/node.ts'
import { readOptions } from '../../soak/options.ts'
import { Troubles } from '../../soak/troubles.ts'
import type { World } from '../../soak/world.ts'

beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }))
afterEach(() => vi.useRealTimers())

interface State {
  notReady?: string
  /** Numbers of the peers that it sees. */
  peers?: readonly number[]
  isShort?: boolean
  problems?: readonly { kind: string; text: string }[]
  banned?: readonly { peerId: string; reason: string }[]
  memory?: number
  files?: number
}

/** Looks at two nodes once a second. @returns the kinds of violations after so many seconds */
async function lookFor(seconds: number, states: readonly [State, State], troubles = new Troubles()): Promise<string[]> {
  const options = readOptions(['--settle', '30'])
  if (typeof options === 'string') throw new Error(options)
  const nodes = states.map((state, index) => ({
    name: `node${index + 1}`,
    isRunning: true,
    notReady: async () => state.notReady,
    use: async () => ({ memory: state.memory ?? 1e8, files: state.files ?? 50 }),
    status: async () => ({
      peerId: `peer${index + 1}`,
      peers: (state.peers ?? [1, 2]).map((number) => ({ peerId: `peer${number}`, transfer: true })),
      store: { isShort: state.isShort ?? false, freeBytes: 0 },
      problems: state.problems ?? [],
      banned: state.banned ?? [],
    }),
  }))
  const journal = new Journal(await tempDir())
  const health = new Health({ options, troubles, journal, nodes: nodes as unknown as Node[] } as unknown as World)
  for (let second = 0; second < seconds; second++) {
    await health.look()
    vi.advanceTimersByTime(1000)
  }
  return journal.violations.map(({ kind, who }) => `${who}: ${kind}`)
}

describe('the health of a fleet', () => {
  it('is not complained of where all is well, and for as long as it may take to settle', async () => {
    expect(await lookFor(400, [{}, {}])).toEqual([])
    expect(await lookFor(30, [{ notReady: 'starting', peers: [] }, {}])).toEqual([])
  })

  const cases: [string, State, string][] = [
    ['that is not ready', { notReady: 'starting' }, 'node1: not ready'],
    ['that does not see its peer', { peers: [] }, 'node1: it does not see node2'],
    ['whose disk stays short', { isShort: true }, 'node1: its disk is short'],
    ['that needs a person', { problems: [{ kind: 'identity', text: 'a copy' }] }, 'node1: it needs a person'],
    [
      'that has banned another',
      { banned: [{ peerId: 'peer2', reason: 'wrong' }] },
      'node1: it has banned an honest peer',
    ],
    ['that takes too much memory', { memory: 1e9 }, 'node1: it takes too much memory'],
    ['that has too many files open', { files: 1000 }, 'node1: it has too many files open'],
  ]
  it.each(cases)('is complained of once for a node %s', async (_, state, violation) => {
    expect(await lookFor(400, [state, {}])).toEqual([violation])
  })

  it('is not expected of nodes that have a fault', async () => {
    const troubles = new Troubles()
    troubles.begin('node1', 1, 'cable out')
    const ill = { notReady: 'starting', peers: [], isShort: true }
    expect(await lookFor(400, [ill, { peers: [] }], troubles)).toEqual([])
  })
})
