import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { Want } from '../../../daemon/share/plan/messages.ts'
import { Sharing } from '../../../daemon/share/sharing.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { stateBytes } from '../../../daemon/verify/state.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { UpstreamError } from '../../../proxy/upstream/types.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { fakeNode, type OpenUpstream, peerWith } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'
import { ScriptedPeer } from '../../fixtures/scripted-peer.ts'
import { checkpointsOf, MemoryContent } from '../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(5 * quarterBytes + 3, 'image')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)
const down: OpenUpstream = async () => {
  throw new UpstreamError('unreachable', 'it is down')
}
/** The blob, and others that nobody has. */
const image = (count: number) => [
  digest,
  ...Array.from({ length: count - 1 }, (_, index) => digestOf(Buffer.from(`layer ${index}`))),
]

/** What a coordinator was told, by message. */
const wishes = (peer: ScriptedPeer | undefined) =>
  (peer?.claims ?? []).map(({ message }) => (message as { wants: Want[] }).wants.map(({ wish }) => wish))

/** Waits for what comes without time passing. */
async function soon(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++) {
    if (turn > 100_000) throw new Error(`not so: ${condition}`)
    await nextTurn()
  }
}

describe('a blob of an image that is foreseen', () => {
  /** A node whose coordinator names a holder ahead of the questions, and says nothing later. */
  async function setUp() {
    const node = await fakeNode({
      peers: { holder: peerWith(bytes, states) },
      upstream: down,
      claim: ({ wish }) => (wish === 'soon' ? { role: 'none', members: ['holder'] } : undefined),
    })
    const holder = node.scripted.get('holder')
    if (holder === undefined) throw new Error('there is a holder')
    /** Waits until the node has heard all that the holder has said: it answers questions in their order. */
    const heard = async () => {
      const news = { free: 4, blobs: [] }
      const before = holder.of('none').length
      holder.say(node.self, { kind: 'plan', message: { kind: 'ask', id: before, news, wishes: [], oldest: undefined } })
      await soon(() => holder.of('none').length > before)
    }
    const foresee = async (digests: readonly Digest[]) => {
      node.sharing.foresee(digests)
      await soon(() => holder.of('intro').length > 0 && (node.swarm.peer('holder')?.sent.messages ?? 0) > 0)
      await heard()
    }
    return { ...node, holder, heard, foresee }
  }

  it('is spoken of in one message with all others, and had from those who have said that they have it', async () => {
    const { sharing, coordinator, holder, member, foresee, download, store } = await setUp()
    await foresee(image(40))
    await soon(() => coordinator?.claims.length === 1)
    expect(wishes(coordinator)).toEqual([Array(40).fill('soon')])
    // One of them is the answer to the question by which this test waits.
    expect([holder.of('intro').length, member.sent.messages]).toEqual([40, 2])
    expect([holder.of('ask'), sharing.status]).toEqual([[], { blobs: 40, peers: 1 }])
    await download(digest).run()
    // The holder has introduced itself once, before the blob was wanted.
    expect([store.has(digest), holder.of('bye')]).toEqual([true, []])
    // The coordinator answers to nobody who wants the blob now.
    expect(wishes(coordinator).flat()).not.toContain('hungry')
  })

  it('is spoken of anew where the one who has it said more than could be kept', async () => {
    const { foresee, heard, holder, self, swarm, download, store } = await setUp()
    await foresee([digest])
    const list = { kind: 'list', number: 1, from: 0, states: new Uint8Array(30_000 * stateBytes) } as const
    for (let count = 0; count < 18; count++) holder.say(self, { ...list, signature: undefined })
    await heard()
    await download(digest).run()
    expect([store.has(digest), holder.of('bye').length, swarm.ends]).toEqual([true, 1, []])
  })

  it('is fetched as any other where what was said of it does not fit together', async () => {
    const { foresee, heard, holder, self, swarm, download, store } = await setUp()
    await foresee([digest])
    holder.say(self, { kind: 'list', number: 1, from: 2, states: new Uint8Array(stateBytes), signature: undefined })
    await heard()
    await download(digest).run()
    expect([store.has(digest), holder.of('bye').length, swarm.ends]).toEqual([true, 1, []])
  })
})

describe('blobs that nobody asks for', () => {
  afterEach(() => void vi.useRealTimers())

  /** A node, the coordinator of all blobs, and one that it names, who has all that it is asked for. */
  function setUp() {
    const swarm = new MemorySwarm()
    const mute = { bytes, states }
    const coordinator = new ScriptedPeer(swarm.join('coordinator'), mute)
    const holder = new ScriptedPeer(swarm.join('holder'), mute)
    coordinator.onClaim = (from, message) => {
      const turns = (message as { wants: Want[] }).wants
        .filter(({ wish }) => wish === 'soon')
        .map(({ blob }) => ({ blob, role: 'none', brought: 0, members: ['holder'] }))
      if (turns.length > 0) void swarm.peer('coordinator')?.coordination.tell(from, { kind: 'turns', turns })
    }
    swarm.coordinators = () => ['coordinator']
    const member = swarm.join('me')
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const sharing = new Sharing({ swarm: member, content: new MemoryContent(), onMoved: () => {} })
    member.listen(sharing)
    onTestFinished(() => sharing.stop())
    // At 0 ms everything was a moment ago.
    vi.advanceTimersByTime(1_000)
    return { coordinator, holder, sharing }
  }

  it('are given up after a minute: the coordinator and those who have them are told', async () => {
    const { coordinator, holder, sharing } = setUp()
    sharing.foresee(image(3))
    await soon(() => holder.of('intro').length === 3 && coordinator.claims.length === 1)
    vi.advanceTimersByTime(61_000)
    await soon(() => holder.of('bye').length === 3 && wishes(coordinator).at(-1)?.includes('gone') === true)
    expect(wishes(coordinator).at(-1)).toEqual(['gone', 'gone', 'gone'])
    expect(sharing.status.blobs).toBe(0)
  })

  it('are told of again where the image is pulled again, and once while they are foreseen', async () => {
    const { coordinator, holder, sharing } = setUp()
    sharing.foresee(image(2))
    sharing.foresee(image(2))
    await soon(() => holder.of('intro').length === 2)
    expect(wishes(coordinator)).toEqual([['soon', 'soon']])
    vi.advanceTimersByTime(61_000)
    await soon(() => sharing.status.blobs === 0)
    sharing.foresee(image(2))
    await soon(() => wishes(coordinator).filter(([wish]) => wish === 'soon').length === 2)
  })

  it('are told in messages that a peer takes, however many the image has', async () => {
    const { coordinator, sharing } = setUp()
    sharing.foresee(image(256))
    await soon(() => coordinator.claims.length === 2)
    expect(wishes(coordinator).map(({ length }) => length)).toEqual([128, 128])
  })
})
