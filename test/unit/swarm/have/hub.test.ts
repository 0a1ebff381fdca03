import { describe, expect, it, onTestFinished } from 'vitest'
import { Hub, type Watcher } from '../../../../daemon/swarm/have/hub.ts'
import type { HaveAnswer } from '../../../../daemon/swarm/have/message.ts'
import type { BlobWatch, BlobWatcher } from '../../../../daemon/swarm/ports.ts'
import { PeerTable } from '../../../../daemon/swarm/session/peer-table.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { chunkBytes } from '../../../../daemon/verify/chunk.ts'
import { stateBytes } from '../../../../daemon/verify/state.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { until } from '../../../fixtures/swarm.ts'

describe('a blob that peers watch', () => {
  it('is introduced anew where its list was cut: nothing told before is left, and nothing is added to it', async () => {
    const held = new Bitfield(4)
    for (const chunk of [0, 1]) held.set(chunk)
    let states = new Uint8Array(2 * stateBytes).fill(1)
    let revision = 0
    let watcher: BlobWatcher | undefined
    const watch: BlobWatch = {
      facts: { size: 4 * chunkBytes, mediaType: undefined, access: 'public', repositories: [] },
      held,
      peers: new PeerTable(held),
      met: () => {},
      hasEnded: () => false,
      revision: () => revision,
      states: (from) => states.subarray(from * stateBytes),
      close: () => {},
    }
    const hub = new Hub({
      digest: digestOf(Buffer.from('blob')),
      content: {
        watch: async (_, told) => {
          watcher = told
          return watch
        },
      },
      room: () => 10,
      delivered: () => false,
      watchBack: () => {},
      onEmpty: () => {},
    })
    onTestFinished(() => hub.end())
    const sent: HaveAnswer[] = []
    const conversation = { send: (message: HaveAnswer) => sent.push(message) } as unknown as Watcher['conversation']
    hub.add({ isBack: false, peer: 'peer', id: 7, conversation })
    await hub.start()
    await until(() => sent.some(({ type }) => type === 'blob'))
    sent.length = 0
    held.clear(1)
    states = new Uint8Array(stateBytes).fill(2)
    revision++
    watcher?.changed()
    await until(() => sent.length >= 2)
    expect(sent.slice(0, 2)).toMatchObject([
      { type: 'none', id: 7 },
      { type: 'blob', id: 7, states },
    ])
    const chunks = sent.flatMap((message) => (message.type === 'got' ? message.chunks : []))
    expect(chunks).not.toContain(1)
  })
})
