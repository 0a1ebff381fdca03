import { pino } from 'pino'
import { expect, test } from 'vitest'
import { HELLO_VERSION } from '../../../../daemon/swarm/hello/constants.ts'
import { Versions } from '../../../../daemon/swarm/hello/versions.ts'

function versions() {
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  return { versions: new Versions(log), lines }
}

test('peers of the same version match, and nothing is logged of them', () => {
  const { versions: one, lines } = versions()
  expect([one.match('a', HELLO_VERSION), lines]).toEqual([true, []])
})

test('peers of another version don’t, and each is logged once, with what to do', () => {
  const { versions: one, lines } = versions()
  for (let round = 0; round < 3; round++) {
    expect([one.match('a', HELLO_VERSION - 1), one.match('b', HELLO_VERSION + 1)]).toEqual([false, false])
  }
  expect(lines.map(({ level, peer, version, ownVersion }) => [level, peer, version, ownVersion])).toEqual([
    [40, 'a', HELLO_VERSION - 1, HELLO_VERSION],
    [40, 'b', HELLO_VERSION + 1, HELLO_VERSION],
  ])
  expect(lines.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/version 1 .* version 2: .* updated on the peer$/),
    expect.stringMatching(/version 3 .* version 2: .* updated on this node$/),
  ])
})

test('a peer that was updated to another wrong version is logged again', () => {
  const { versions: one, lines } = versions()
  one.match('a', 3)
  one.match('a', 4)
  expect(lines.map(({ version }) => version)).toEqual([3, 4])
})
