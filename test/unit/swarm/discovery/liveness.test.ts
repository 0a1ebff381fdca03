import type { Connection } from '@libp2p/interface'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { Liveness } from '../../../../daemon/swarm/discovery/liveness.ts'
import { until } from '../../../fixtures/swarm.ts'

/** A connection over which nothing comes. */
function silent(peer: string) {
  const remotePeer = { toString: () => peer, equals: (other: unknown) => String(other) === peer }
  const state = { status: 'open', isAborted: false }
  const connection = {
    get status() {
      return state.status
    },
    remotePeer,
    remoteAddr: '/ip4/10.0.0.1/tcp/4050',
    maConn: { socket: { bytesRead: 7, bytesWritten: 9 } },
    newStream: (_: string, { signal }: { signal: AbortSignal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    abort: () => {
      state.status = 'aborted'
      state.isAborted = true
    },
  } as unknown as Connection
  return { connection, state }
}

it('ends connections over which nothing comes, unless the peer is heard in another way; what throws ends no round', {
  timeout: 30_000,
}, async () => {
  const [first, gone, moving, old, young] = ['first', 'gone', 'moving', 'moved', 'moved'].map(silent) as [
    ReturnType<typeof silent>,
    ReturnType<typeof silent>,
    ReturnType<typeof silent>,
    ReturnType<typeof silent>,
    ReturnType<typeof silent>,
  ]
  const all = [first, gone, moving, old, young].map(({ connection }) => connection)
  const dead: string[] = []
  const liveness = new Liveness({
    connections: () => all,
    heard: { since: (peer) => peer === 'moving' || peer === 'moved' },
    onDead: (peer) => {
      dead.push(peer)
      if (peer === 'first') throw new Error('it could not be ended')
    },
    log: pino({ level: 'silent' }),
  })
  liveness.check([first, gone, moving, old].map(({ connection }) => connection))
  await until(() => old.state.isAborted && dead.length === 2)
  // What moves by other ways with the peer of the old connection goes on.
  expect(dead).toEqual(['first', 'gone'])
  expect([first, gone, moving, old, young].map(({ state }) => state.isAborted)).toEqual([
    true,
    true,
    false,
    true,
    false,
  ])
  // And it is asked again.
  liveness.check([first.connection, moving.connection])
})
