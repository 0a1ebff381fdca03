import { once } from 'node:events'
import { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import { expect, onTestFinished, test } from 'vitest'
import { BURST_MS, PeerLimits } from '../../../../daemon/swarm/limits/peer-limits.ts'
import { Buffers } from '../../../../daemon/swarm/link/buffers.ts'
import { MAX_PART_BYTES, SLICE_BYTES, STUCK_MS } from '../../../../daemon/swarm/link/constants.ts'
import { Link } from '../../../../daemon/swarm/link/link.ts'
import { SLICE_HEAD_BYTES } from '../../../../daemon/swarm/link/slice.ts'
import type { UpgradeKind } from '../../../../daemon/swarm/transfer/upgrade.ts'
import { ShareRecorder } from '../../../fixtures/share-listener.ts'

const settle = () => new Promise((resolve) => setImmediate(resolve))

/** A link whose peer has opened a connection, and reads from it when the test says so. */
function linkOver(kind: UpgradeKind) {
  const floods: string[] = []
  const limits = new PeerLimits({ isOpen: true, onFlood: (_, reason) => floods.push(reason) })
  const reads: (() => void)[] = []
  const heard: number[] = []
  const stream = new Duplex({ read: () => {}, write: (_bytes, _encoding, done) => void reads.push(done) })
  const socket = Object.assign(stream, { setNoDelay: () => {} }) as unknown as TLSSocket
  const link = new Link({
    limits,
    peer: 'a',
    listener: new ShareRecorder(),
    buffers: { parts: new Buffers(MAX_PART_BYTES, 1), slices: new Buffers(SLICE_HEAD_BYTES + SLICE_BYTES, 1) },
    open: () => new Promise(() => {}),
    askMs: 1000,
    onHeard: () => heard.push(performance.now()),
    onEnd: () => {},
  })
  let take: (bytes: Buffer) => void = () => {}
  link.accept(kind, { socket, read: (onBytes) => (take = onBytes) })
  onTestFinished(() => link.end(new Error('the test is over')))
  const read = async () => {
    reads.shift()?.()
    await settle()
  }
  return { link, read, heard, limits, floods, stream, receive: (bytes: Buffer) => take(bytes) }
}

test.each(['control', 'bulk'] as const)('a link over whose %s connection the peer reads nothing ends', async (kind) => {
  const { link, read } = linkOver(kind)
  const bytes = Buffer.alloc(SLICE_BYTES)
  const give = () => {
    if (kind === 'control') link.send(bytes)
    else link.sendPart({ id: 1, quarter: 0 }, bytes, new AbortController().signal).catch(() => {})
  }
  const check = (ms: number) => link.check(performance.now() + ms, Number.POSITIVE_INFINITY)
  give()
  await settle()
  check(STUCK_MS - 1000)
  expect(link.isOver).toBe(false)
  await read()
  check(STUCK_MS + 1000)
  expect(link.isOver).toBe(false)
  give()
  await settle()
  check(STUCK_MS + 1000)
  expect(link.isOver).toBe(true)
})

test('a link tells that something has come, and not that something was sent', async () => {
  const { link, read, heard, receive } = linkOver('control')
  expect(heard).toHaveLength(1)
  link.send(Buffer.from('message'))
  await settle()
  await read()
  expect(heard).toHaveLength(1)
  receive(Buffer.from([0]))
  expect(heard).toHaveLength(2)
})

test('a peer that sends a little more than it may is read from later, loses nothing, and is not blamed', async () => {
  const { link, limits, floods, stream, receive } = linkOver('control')
  limits.spend('a', BURST_MS, 'something else')
  receive(Buffer.from([0, 0, 0, 0]))
  expect(stream.isPaused()).toBe(true)
  expect([link.isOver, floods]).toEqual([false, []])
  await once(stream, 'resume')
  receive(Buffer.from([0, 0, 0, 0]))
  expect([link.isOver, floods]).toEqual([false, []])
})

test('a peer that breaks the protocol is cut off, and pays for it', async () => {
  const { link, limits, floods, receive } = linkOver('control')
  limits.spend('a', BURST_MS + 100, 'something else')
  receive(Buffer.alloc(4, 0xfe))
  expect([link.isOver, floods]).toEqual([true, ['it sends too many messages that it should not send']])
})
