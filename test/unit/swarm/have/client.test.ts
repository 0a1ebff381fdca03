import type { Connection, Stream } from '@libp2p/interface'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Announcements } from '../../../../daemon/swarm/have/announcements.ts'
import { HaveClient } from '../../../../daemon/swarm/have/client.ts'
import { haveServer } from '../../../../daemon/swarm/have/server.ts'
import type { PeerId } from '../../../../daemon/swarm/ports.ts'
import { REQUESTS_ALIKE } from '../../../../daemon/swarm/session/constants.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

/** One end of a stream: what is sent comes out at the other one. */
class End extends EventTarget {
  readonly writeStatus = 'writable'
  readonly writableNeedsDrain = false
  status = 'open'
  other: End | undefined

  send(bytes: Uint8Array): boolean {
    const message = Object.assign(new Event('message'), { data: { subarray: () => bytes } })
    queueMicrotask(() => this.other?.dispatchEvent(message))
    return true
  }

  abort(): void {
    this.status = 'aborted'
  }

  as(): Stream {
    return this as unknown as Stream
  }
}

/** Nodes that have all of every blob of one chunk, and know each other. */
class Nodes {
  readonly #servers = new Map<PeerId, ReturnType<typeof haveServer>>()

  /** @param requests that it has under way */
  start(id: PeerId, requests: number): HaveClient {
    const announcements = new Announcements({
      content: {
        watch: async () => ({
          facts: { size: chunkBytes, mediaType: undefined, access: 'public', repositories: [] },
          held: Bitfield.full(1),
          peers: undefined,
          met: () => {},
          hasEnded: () => false,
          revision: () => 0,
          states: () => new Uint8Array(0),
          close: () => {},
        }),
      },
      requests: () => requests,
      watchBack: () => {},
    })
    onTestFinished(() => announcements.stop())
    this.#servers.set(id, haveServer(announcements))
    const open = async (peer: PeerId) => {
      const [here, there] = [new End(), new End()]
      here.other = there
      there.other = here
      void this.#servers.get(peer)?.(there.as(), { remotePeer: { toString: () => id } } as unknown as Connection)
      return here.as()
    }
    return new HaveClient(open, (peer, told) => announcements.busy(peer, told))
  }
}

/** Watches a blob. @returns what is told of its chunks */
function watch(client: HaveClient, peer: PeerId, blob: string) {
  const got = vi.fn()
  const listener = { blob: () => {}, got: (chunks: readonly number[]) => got(...chunks), gone: () => {} }
  client.watch(peer, digestOf(Buffer.from(blob)), listener, new AbortController().signal)
  return got
}

describe('a node that tells that it has many requests under way', () => {
  it.each([
    ['busy', 'idle'],
    ['idle', 'busy'],
  ] as const)('is offered a chunk of any blob after one that has few (%s first)', async (...order) => {
    const nodes = new Nodes()
    const clients = { busy: nodes.start('busy', REQUESTS_ALIKE), idle: nodes.start('idle', REQUESTS_ALIKE - 1) }
    const node = nodes.start('node', 0)
    for (const peer of order) {
      const got = watch(node, peer, 'one')
      await vi.waitFor(() => expect(got).toHaveBeenCalledWith(0))
    }
    const watched = order.map((peer) => ({ peer, got: watch(clients[peer], 'node', 'other') }))
    const told = () => watched.filter(({ got }) => got.mock.calls.length > 0).map(({ peer }) => peer)
    await vi.waitFor(() => expect(told()).toEqual(['idle']))
  })
})
