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
  const pass = async (ms: number) => {
    await vi.advanceTimersByTimeAsync(ms)
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  return { clones, errors, own, meet, pass }
}

test('an end without its other one is another machine with the same key', async () => {
  const { clones, errors, meet, pass } = setUp()
  meet('outbound', 50_001)
  await pass(900)
  expect(clones.problem).toBeUndefined()
  await pass(200)
  expect(errors).toHaveLength(1)
  expect(clones.problem).toMatch(/10\.0\.0\.9\/tcp\/4050 has the same identity/)
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
