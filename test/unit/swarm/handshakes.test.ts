import { multiaddr } from '@multiformats/multiaddr'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Handshakes } from '../../../daemon/swarm/handshakes.ts'

const address = multiaddr('/ip4/10.0.0.9/tcp/4050')

function setUp() {
  vi.useFakeTimers({ toFake: ['performance'] })
  onTestFinished(() => void vi.useRealTimers())
  const warnings: string[] = []
  const log = { warn: (_: unknown, text: string) => void warnings.push(text) } as never
  const handshakes = new Handshakes({ self: 'self', hasKey: true, onSelf: () => {}, log })
  /** A connection on which the peer has sent noise, and that ends. */
  const fail = async (socket = { bytesRead: 100 }) => {
    const connection = Object.assign(new EventTarget(), { direction: 'outbound', remoteAddr: address, socket })
    const protector = handshakes.protector(undefined)({} as never)
    await protector.protect(connection as never)
    connection.dispatchEvent(new Event('close'))
  }
  /** The same, with what the peer says first. */
  const say = async (text: string) => {
    const socket = { bytesRead: text.length + 24 }
    const connection = Object.assign(new EventTarget(), { direction: 'outbound', remoteAddr: address, socket })
    await handshakes
      .protector(undefined)({} as never)
      .protect(connection as never)
    const heard: string[] = []
    connection.addEventListener('message', (event) => heard.push(String((event as unknown as { data: Buffer }).data)))
    const pieces = [text, 'more']
    for (const piece of pieces) {
      connection.dispatchEvent(Object.assign(new Event('message'), { data: Buffer.from(piece) }))
    }
    expect(heard).toEqual(pieces)
    connection.dispatchEvent(new Event('close'))
  }
  return { handshakes, warnings, fail, say }
}

test('what failed before an address was dialled is not named any more', async () => {
  const { handshakes, fail } = setUp()
  vi.advanceTimersByTime(1_000)
  const first = performance.now()
  await fail()
  expect(handshakes.problemAt(address, first)).toContain('swarm.swarmKey')
  vi.advanceTimersByTime(1_000)
  // It was mended, and now nothing listens there.
  expect(handshakes.problemAt(address, performance.now())).toBeUndefined()
})

test('failures are in a row where not too much time is between them', async () => {
  const { warnings, fail } = setUp()
  for (let day = 0; day < 5; day++) {
    await fail()
    vi.advanceTimersByTime(86_400_000)
  }
  expect(warnings).toEqual([])
  await fail()
  await fail()
  expect(warnings).toHaveLength(1)
})

test('a peer that speaks our protocol and hangs up has the same key', async () => {
  const { handshakes, warnings, say } = setUp()
  for (let times = 0; times < 3; times++) await say('\x13/multistream/1.0.0\n')
  await say('\x13/multi')
  expect([warnings, handshakes.problemAt(address, 0)]).toEqual([[], undefined])
  await say('\x13?%$ noise')
  expect(handshakes.problemAt(address, 0)).toContain('swarm keys differ')
})
