import { noise } from '@chainsafe/libp2p-noise'
import { type Identify, identify } from '@libp2p/identify'
import type { Libp2p, Stream } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { frame } from '../../daemon/swarm/conversation.ts'
import { Announcements } from '../../daemon/swarm/have/announcements.ts'
import { HAVE_PROTOCOL } from '../../daemon/swarm/have/constants.ts'
import { TransferClient } from '../../daemon/swarm/transfer/client.ts'
import { Bitfield } from '../../daemon/verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../daemon/verify/quarter.ts'
import { stateBytes } from '../../daemon/verify/state.ts'
import { digestOf } from '../../proxy/oci/digest.ts'
import { libp2pNode } from '../fixtures/libp2p-node.ts'
import { TestSwarm, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
const cleanUp: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanUp.splice(0).reverse()) await step()
  await swarm.close()
})

async function bareNode(): Promise<Libp2p<{ identify: Identify }>> {
  const node = await createLibp2p({
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
  })
  cleanUp.push(() => node.stop())
  return node
}

describe('a node that tells of chunks', () => {
  test('tells how many requests it has under way, by which it is offered chunks, until it is gone', async () => {
    const requests = vi.spyOn(TransferClient.prototype, 'requests', 'get').mockReturnValue(7)
    const busy = vi.spyOn(Announcements.prototype, 'busy')
    const left = vi.spyOn(Announcements.prototype, 'left')
    onTestFinished(() => [requests, busy, left].forEach((spy) => void spy.mockRestore()))
    const [a, b] = await swarm.pair()
    const digest = b.content.add(Buffer.alloc(3 * chunkBytes))
    const listener = { blob: () => {}, got: () => {}, gone: () => {} }
    a.swarm.watch(b.peerId(), digest, listener, AbortSignal.timeout(10_000))
    await until(() => busy.mock.calls.length > 0)
    expect(busy).toHaveBeenCalledWith(b.peerId(), 7)
    expect(left).not.toHaveBeenCalled()
    const gone = b.peerId()
    await b.stop()
    await until(() => left.mock.calls.some(([peer]) => peer === gone))
  })
})

describe('a peer that does not read what it is sent', () => {
  test('is not sent more, whatever it asks, and goes on when it reads again', async () => {
    const node = await swarm.node()
    const chunks = 10_000
    const states = new Uint8Array((chunks - 1) * stateBytes)
    let watched = 0
    let told = 0
    node.content.watch = async () => {
      watched++
      return {
        facts: { size: chunks * chunkBytes, mediaType: undefined, access: 'public', repositories: [] },
        held: Bitfield.full(chunks),
        peers: undefined,
        met: () => {},
        hasEnded: () => false,
        revision: () => 0,
        states: (from) => {
          if (from === 0) told++
          return states.subarray(from * stateBytes)
        },
        close: () => {},
      }
    }
    const asker = await bareNode()
    const connection = await asker.dial(multiaddr(node.address()))
    const stream = await connection.newStream(HAVE_PROTOCOL)
    let read = 0
    stream.addEventListener('message', ({ data }) => (read += data.byteLength))
    stream.pause()
    const digest = digestOf(Buffer.from('a'))
    const questions = 200
    for (let asked = 1; asked <= questions; asked++) {
      stream.send(frame({ type: 'watch', id: 1, digest }))
      await until(() => watched === asked)
    }
    expect(told).toBeLessThan(4)
    const before = told
    stream.resume()
    // All that was sent, and the answer to the last question.
    await until(() => read > (before + 1) * states.length)
    expect(told).toBe(before + 1)
  })

  test('loses the stream rather than fill the memory', async () => {
    const node = await libp2pNode()
    const opened = Promise.withResolvers<Stream>()
    await node.handle('/test/1', (stream) => opened.resolve(stream))
    const reader = await bareNode()
    const stream = await reader.dialProtocol(node.getMultiaddrs(), '/test/1')
    stream.pause()
    const writing = await opened.promise
    const megabyte = new Uint8Array(2 ** 20)
    for (let sent = 0; sent < 9 && writing.status === 'open'; sent++) writing.send(megabyte)
    expect([writing.status, writing.writeBufferLength]).toEqual(['aborted', 0])
  })
})
