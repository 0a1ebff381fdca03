import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Hub, type Watcher } from '../../../../daemon/swarm/have/hub.ts'
import type { HaveAnswer } from '../../../../daemon/swarm/have/message.ts'
import type { BlobWatcher } from '../../../../daemon/swarm/ports.ts'
import { LIST_MS } from '../../../../daemon/swarm/session/constants.ts'
import { Offers } from '../../../../daemon/swarm/session/offers.ts'
import { PeerTable } from '../../../../daemon/swarm/session/peer-table.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { stateBytes } from '../../../../daemon/verify/state.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

/** A hub of a blob with 4 chunks that is being fetched, what one watcher is sent, and who is watched back. */
function scene(held: Bitfield) {
  const sent: HaveAnswer[] = []
  const watchedBack: string[] = []
  const watch = {
    facts: { size: 4 * chunkBytes, mediaType: undefined, access: 'public' as const, repositories: [] },
    held,
    peers: new PeerTable(held) as PeerTable | undefined,
    states: new Uint8Array(2 * stateBytes).fill(1),
    revision: 0,
  }
  let watcher: BlobWatcher | undefined
  const hub = new Hub({
    digest: digestOf(Buffer.from('blob')),
    content: {
      watch: async (_, told) => {
        watcher = told
        return {
          facts: watch.facts,
          held,
          get peers() {
            return watch.peers
          },
          met: () => {},
          hasEnded: () => false,
          revision: () => watch.revision,
          states: (from) => watch.states.subarray(from * stateBytes),
          close: () => {},
        }
      },
    },
    offers: new Offers(),
    requests: () => 3,
    room: () => 10,
    sending: () => 0,
    delivered: () => false,
    watchBack: (peer, _, signal) => {
      watchedBack.push(peer)
      signal.addEventListener('abort', () => watchedBack.splice(watchedBack.indexOf(peer), 1))
    },
    onEmpty: () => {},
  })
  onTestFinished(() => hub.end())
  const conversation = { send: (message: HaveAnswer) => sent.push(message) } as unknown as Watcher['conversation']
  const as = (peer: string, isBack = false, id = 7): Watcher => ({ peer, id, isBack, conversation })
  const got = (chunk: number) => {
    held.set(chunk)
    watcher?.got(chunk, undefined)
  }
  return { hub, as, sent, watchedBack, watch, got, changed: () => watcher?.changed() }
}

describe('a blob that peers watch', () => {
  it('is introduced anew where its list was cut: nothing told before is left, and nothing is added to it', async () => {
    const held = new Bitfield(4)
    for (const chunk of [0, 1]) held.set(chunk)
    const { hub, as, sent, watch, changed } = scene(held)
    hub.add(as('peer'))
    await hub.start()
    await until(() => sent.some(({ type }) => type === 'blob'))
    sent.length = 0
    held.clear(1)
    watch.states = new Uint8Array(stateBytes).fill(2)
    watch.revision++
    changed()
    await until(() => sent.length >= 2)
    expect(sent.slice(0, 2)).toMatchObject([
      { type: 'none', id: 7 },
      { type: 'blob', id: 7, states: watch.states },
    ])
    const got = sent.filter((message) => message.type === 'got')
    expect(got.flatMap(({ chunks }) => chunks)).not.toContain(1)
    // With each, how much this node asks for itself.
    expect(got.map(({ requests }) => requests)).toEqual(got.map(() => 3))
  })

  it('has its checkpoints told to all as they come from upstream, and its chunks to one', async () => {
    const { hub, as, sent, watch, got } = scene(new Bitfield(4))
    for (const id of [1, 2, 3]) hub.add(as(`peer ${id}`, false, id))
    await hub.start()
    await until(() => sent.filter(({ type }) => type === 'blob').length === 3)
    sent.length = 0
    watch.states = new Uint8Array(3 * stateBytes).fill(1)
    got(0)
    await until(() => sent.length === 3)
    const told = sent.flatMap((message) => (message.type === 'got' ? [message] : []))
    expect(told.flatMap(({ chunks }) => chunks)).toEqual([0])
    expect(told.map(({ id }) => id).sort()).toEqual([1, 2, 3])
    expect(told.map(({ states }) => states.length)).toEqual([stateBytes, stateBytes, stateBytes])
    // Where the list has not grown there is nothing to tell.
    got(1)
    await delay(2 * LIST_MS)
    expect(sent.slice(3)).toMatchObject([{ type: 'got', chunks: [1] }])
  })

  it('is watched back when its fetch is over, but not at those who have it, too, and not for longer than they watch', async () => {
    const { hub, as, sent, watch, watchedBack, changed } = scene(Bitfield.full(4))
    hub.add(as('fetches'))
    hub.add(as('has it', true))
    await hub.start()
    await until(() => sent.filter(({ type }) => type === 'blob').length === 2)
    expect(watchedBack).toEqual([])
    watch.peers = undefined
    changed()
    await until(() => watchedBack.length > 0)
    expect(watchedBack).toEqual(['fetches'])
    hub.add(as('fetches'))
    hub.remove(as('fetches'))
    expect(watchedBack).toEqual([])
  })
})
