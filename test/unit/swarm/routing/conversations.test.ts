import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import {
  DEADLINE_TICKS,
  MAX_HOPS,
  MOST_TICKS,
  SILENT_TICKS,
  TICK_MS,
} from '../../../../daemon/swarm/routing/constants.ts'
import { RoutingStreams } from '../../../../daemon/swarm/routing/conversations.ts'
import type { Ask } from '../../../../daemon/swarm/routing/message.ts'
import { streamPair } from '../../../fixtures/stream-pair.ts'

const where: Ask = { kind: 'where', to: 1, peer: 'peer' }
const unreachable = { kind: 'no', reason: 'unreachable' }
const busy = { kind: 'no', reason: 'busy' }

let streams: RoutingStreams
/** What a peer that never answers was sent, in bytes of each message. */
let sent: number[]
beforeEach(() => {
  vi.useFakeTimers()
  sent = []
  streams = new RoutingStreams({
    openStream: async () => {
      const [here, there] = streamPair()
      there.addEventListener('message', ({ data }: { data: { byteLength: number } }) => void sent.push(data.byteLength))
      return here
    },
    onAsk: async () => unreachable as never,
    onFull: () => {},
    onLarge: () => {},
  })
})
afterEach(() => {
  streams.stop()
  vi.useRealTimers()
})

describe('a peer that does not answer', () => {
  test('is silent after a while, and asked again once nothing is waited for any more', async () => {
    const answer = streams.ask('peer', where, 1)
    await vi.advanceTimersByTimeAsync(SILENT_TICKS * TICK_MS)
    expect(streams.isSilent('peer')).toBe(true)
    await vi.advanceTimersByTimeAsync(DEADLINE_TICKS * TICK_MS)
    expect(await answer).toEqual(unreachable)
    await vi.advanceTimersByTimeAsync(MOST_TICKS * TICK_MS)
    expect(streams.isSilent('peer')).toBe(false)
  })

  test('is given up sooner by those on the way than by whoever has asked them', async () => {
    const ended: number[] = []
    const asks = [MAX_HOPS - 1, MAX_HOPS - 2, MAX_HOPS - 3].map((hops) =>
      streams.ask('peer', where, hops).then(() => ended.push(hops)),
    )
    await vi.advanceTimersByTimeAsync((DEADLINE_TICKS + 1) * TICK_MS)
    await Promise.all(asks)
    expect(ended).toEqual([MAX_HOPS - 3, MAX_HOPS - 2, MAX_HOPS - 1])
  })

  test('is not waited for once this node stops', async () => {
    const answer = streams.ask('peer', where, 1)
    await vi.advanceTimersByTimeAsync(0)
    streams.stop()
    expect(await answer).toEqual(unreachable)
    expect(await streams.ask('peer', where, 1)).toEqual(unreachable)
  })
})

test('what is passed on to one peer has a bound, so that it is never charged for what others say; own requests go on', async () => {
  const tell = { kind: 'tell', to: 1, peer: 'peer', payload: new Uint8Array(200_000) } as unknown as Ask
  const answers = Array.from({ length: 200 }, () => streams.pass('peer', tell, 1))
  await vi.advanceTimersByTimeAsync(0)
  const passed = sent.length
  expect(passed).toBeLessThan(100)
  expect(await Promise.all(answers.slice(passed))).toEqual(Array(200 - passed).fill(busy))
  const own = streams.ask('peer', where, 1)
  await vi.advanceTimersByTimeAsync(0)
  expect(sent).toHaveLength(passed + 1)
  streams.stop()
  await own
})
