import { EventEmitter } from 'node:events'
import type { Connection, Stream } from '@libp2p/interface'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { decodeFinding, encodeFinding, type Finding } from '../../../../daemon/swarm/hello/finding.ts'
import { OwnPort } from '../../../../daemon/swarm/transfer/own-port.ts'
import { until } from '../../../fixtures/swarm.ts'

function setUp(peers: string[], closed: readonly string[] = [], hostOf = (_peer: string) => '10.0.0.1') {
  const changes: boolean[] = []
  const lines: string[] = []
  const sent: [string, Finding][] = []
  const log = pino({ level: 'info', base: null }, { write: (line: string) => void lines.push(JSON.parse(line).msg) })
  const isOpen = (peer: string) => !closed.includes(peer)
  const ownPort = new OwnPort({
    known: { list: () => peers.map((peerId) => ({ peerId, host: hostOf(peerId), port: 1, fingerprint: '' })) },
    reach: { isOpen, findingOf: (peer) => ({ isOpen: isOpen(peer), address: '10.0.0.1:1', reason: 'refused' }) },
    openStream: async (peer) =>
      ({
        send: (bytes: Uint8Array) => void sent.push([peer, decodeFinding(bytes.subarray(0, -1))]),
        close: async () => {},
      }) as unknown as Stream,
    onPassedOver: (isPassedOver) => changes.push(isPassedOver),
    log,
  })
  /** What a peer tells, as it comes. */
  const hear = async (peer: string, bytes: Uint8Array, status = 'open') => {
    const listeners = new EventEmitter()
    let isAborted = false
    const stream = {
      addEventListener: (event: string, listener: () => void) => listeners.on(event, listener),
      removeEventListener: (event: string, listener: () => void) => listeners.off(event, listener),
      close: async () => {},
      abort: () => {
        isAborted = true
      },
    }
    const handled = ownPort.handler(stream as unknown as Stream, { remotePeer: peer, status } as unknown as Connection)
    listeners.emit('message', { data: bytes })
    await handled
    return isAborted
  }
  const tells = (peer: string, isOpen: boolean) =>
    hear(peer, encodeFinding({ isOpen, address: '10.0.0.9:4051', reason: 'refused' }))
  return { ownPort, peers, changes, lines, sent, hear, tells }
}

test('a port counts as closed where most of the peers say so', async () => {
  const { ownPort, peers, changes, lines, tells } = setUp(['a', 'b', 'c'])
  await tells('a', false)
  // One peer may be behind a firewall of its own, or lie.
  expect([ownPort.problem, changes]).toEqual([undefined, []])
  await tells('a', false)
  expect(ownPort.problem).toBeUndefined()
  await tells('b', false)
  expect(ownPort.problem).toMatch(/^2 of 3 peers .* at 10\.0\.0\.9:4051 \(refused\).*open TCP port 4051/)
  await tells('b', true)
  expect([ownPort.problem, changes]).toEqual([undefined, [true, false]])
  await tells('b', false)
  peers.splice(peers.indexOf('a'), 1)
  ownPort.left('a')
  expect([ownPort.problem, changes]).toEqual([undefined, [true, false, true, false]])
  expect(lines).toHaveLength(4)
})

test('a node that nobody can take the place of goes on, and says what is wrong', async () => {
  const { ownPort, changes, tells } = setUp(['a'], ['a'])
  await tells('a', false)
  expect([ownPort.problem === undefined, changes]).toEqual([false, []])
})

test('what strangers tell, or nobody understands, counts for nothing', async () => {
  const { ownPort, hear, tells } = setUp(['a'])
  await tells('stranger', false)
  expect(ownPort.problem).toBeUndefined()
  for (const text of [
    '',
    '{',
    '{"isOpen":false,"address":"nowhere"}',
    `{"isOpen":false,"reason":"${'x'.repeat(2_000)}"}`,
  ])
    expect(await hear('a', new TextEncoder().encode(`${text}\n`))).toBe(true)
  expect(ownPort.problem).toBeUndefined()
  const rude = '{"isOpen":false,"address":"10.0.0.9:4051","reason":"\\u001b[31mred\\n","later":1}\n'
  expect(await hear('a', new TextEncoder().encode(rude))).toBe(false)
  expect(ownPort.problem).toContain('( [31mred )')
})

test('a peer is told what was found of its port when that changes, and when it comes again', async () => {
  const { ownPort, sent } = setUp(['a', 'b'], ['b'])
  ownPort.met('a')
  ownPort.met('b')
  ownPort.changed('a')
  await until(() => sent.length === 2)
  expect(sent).toEqual([
    ['b', { isOpen: false, address: '10.0.0.1:1', reason: 'refused' }],
    ['a', { isOpen: true, address: '10.0.0.1:1', reason: 'refused' }],
  ])
})

test('what a peer tells before it has said hello counts from then on, and not where it has gone', async () => {
  const { ownPort, peers, hear, tells } = setUp([])
  await tells('early', false)
  expect(ownPort.problem).toBeUndefined()
  peers.push('early')
  ownPort.met('early')
  expect(ownPort.problem).toMatch(/^1 of 1 peers /)
  ownPort.left('early')
  await hear('early', encodeFinding({ isOpen: false, address: '10.0.0.9:4051' }), 'closed')
  expect(ownPort.problem).toBeUndefined()
})

test('many PeerIds of one address have one vote, and who tells this and that in turn does not fill the log', async () => {
  const strangers = Array.from({ length: 20 }, (_, index) => `stranger ${index}`)
  const hosts = new Map([
    ['a', '10.0.0.1'],
    ['b', '10.0.0.2'],
  ])
  const { ownPort, changes, lines, tells } = setUp(
    ['a', 'b', ...strangers],
    [],
    (peer) => hosts.get(peer) ?? '10.0.0.3',
  )
  for (const stranger of strangers) await tells(stranger, false)
  expect([ownPort.problem, changes]).toEqual([undefined, []])
  for (let time = 0; time < 20; time++) await tells('a', time % 2 === 0)
  expect(lines).toHaveLength(4)
  await tells('a', false)
  expect(ownPort.problem).toMatch(/^21 of 22 peers /)
})
