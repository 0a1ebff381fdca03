import { multiaddr } from '@multiformats/multiaddr'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Clones } from '../../../daemon/swarm/clones.ts'

function setUp() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const errors: unknown[] = []
  const own: string[] = []
  const clones = new Clones({
    self: 'self',
    keyFile: '/key',
    onOwn: (address) => void own.push(address.toString()),
    log: { error: (fields: unknown) => void errors.push(fields) } as never,
  })
  onTestFinished(() => clones.stop())
  const address = (port: number) => multiaddr(`/ip4/10.0.0.9/tcp/${port}`)
  /** An end of a connection from port `from` to 4050. */
  const meet = (direction: 'inbound' | 'outbound', from: number) =>
    clones.met(
      direction === 'outbound'
        ? { direction, address: address(4050), localPort: from, remotePort: 4050 }
        : { direction, address: address(from), localPort: 4050, remotePort: from },
    )
  const meetAt = (host: string) =>
    clones.met({
      direction: 'outbound',
      address: multiaddr(`/ip4/${host}/tcp/4050`),
      localPort: 50_000,
      remotePort: 4050,
    })
  const pass = async (ms: number) => {
    await vi.advanceTimersByTimeAsync(ms)
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return { clones, errors, own, meet, meetAt, pass }
}

test('ends without their other ones are another machine with the same key, when they are met again', async () => {
  const { clones, errors, meet, pass } = setUp()
  meet('outbound', 50_001)
  meet('outbound', 50_002)
  await pass(2_000)
  // Once may be chance.
  expect([errors, clones.problem]).toEqual([[], undefined])
  meet('outbound', 50_003)
  await pass(900)
  expect(clones.problem).toBeUndefined()
  await pass(200)
  expect(errors).toHaveLength(1)
  expect(clones.problem).toMatch(/10\.0\.0\.9\/tcp\/4050 has the same identity/)
  meet('outbound', 50_004)
  await pass(2_000)
  expect(errors).toHaveLength(1)
  await pass(301_000)
  expect(clones.problem).toBeUndefined()
  // Long after that it is a chance again.
  meet('outbound', 50_005)
  await pass(2_000)
  expect(clones.problem).toBeUndefined()
})

test('one chance event at each of many places is none', async () => {
  const { clones, errors, pass, meetAt } = setUp()
  for (let host = 1; host <= 200; host++) {
    meetAt(`10.0.1.${host}`)
    await pass(1_100)
  }
  expect([errors, clones.problem]).toEqual([[], undefined])
})

test('both ends are this node; one that is met while others are judged has its own time', async () => {
  const { clones, errors, own, meet, pass } = setUp()
  meet('outbound', 50_001)
  meet('inbound', 50_001)
  // Of this one the other end is late, and the time of the first pair is over just when it is met.
  vi.advanceTimersByTime(1_000)
  meet('outbound', 50_002)
  await pass(10)
  meet('inbound', 50_002)
  await pass(3_000)
  expect([errors, clones.problem, own.length]).toEqual([[], undefined, 2])
})
