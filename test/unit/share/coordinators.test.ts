import { describe, expect, it, onTestFinished } from 'vitest'
import type { Want } from '../../../daemon/share/plan/messages.ts'
import { Sharing } from '../../../daemon/share/sharing.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { fakeNode, upstreamWith } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'
import { ScriptedPeer } from '../../fixtures/scripted-peer.ts'
import { MemoryContent, until } from '../../fixtures/swarm.ts'

const key = digestOf(Buffer.from('tag docker.io/app:latest'))
/** A key whose coordinators are not found. */
const lost = digestOf(Buffer.from('tag docker.io/app:lost'))
const never = new Promise<never>(() => {})
const mute = { bytes: Buffer.alloc(0), states: new Uint8Array(0) }
const soon = () => AbortSignal.timeout(20_000)

/** Nodes of which the given ones coordinate all, and peers that do as a test wants. */
function setUp(names: readonly string[], coordinators: readonly string[], scripted: readonly string[] = []) {
  const swarm = new MemorySwarm()
  swarm.coordinators = () => coordinators
  const nodes = names.map((name) => {
    const member = swarm.join(name)
    const sharing = new Sharing({ swarm: member, content: new MemoryContent(), onMoved: () => {} })
    member.listen(sharing)
    onTestFinished(() => sharing.stop())
    return sharing
  })
  const peers = scripted.map((name) => new ScriptedPeer(swarm.join(name), mute))
  return { swarm, nodes, peers }
}

/** Blobs that a coordinator was asked for, with the wishes. */
const wishesOf = (peer: ScriptedPeer | undefined) =>
  (peer?.claims ?? []).flatMap(({ message }) => (message as { wants: Want[] }).wants.map(({ wish }) => wish))

describe('a turn', () => {
  it('is given to one, and the others hear who has it, and who knows the answer', async () => {
    const { nodes } = setUp(['a', 'b', 'c'], ['c', 'b', 'a'])
    const [a, b] = nodes
    expect(await a?.turn(key, 'part', soon())).toMatchObject({ role: 'head' })
    expect(await b?.turn(key, 'part', soon())).toMatchObject({ role: 'none', head: 'a' })
    a?.turnEnded(key, true)
    await until(async () => (await b?.turn(key, 'part', soon()))?.head === undefined)
    expect(await b?.turn(key, 'part', soon())).toMatchObject({ role: 'none', head: undefined, members: ['a'] })
    // What that one knew is not fresh any more.
    expect(await b?.turn(key, 'hungry', soon())).toMatchObject({ role: 'head' })
  })

  it('goes to the next one when it is given back, and when its holder leaves', async () => {
    const { swarm, nodes } = setUp(['a', 'b', 'c', 'd'], ['d'])
    const [a, b, c] = nodes
    expect(await a?.turn(key, 'part', soon())).toMatchObject({ role: 'head' })
    a?.turnEnded(key, false)
    await until(async () => (await b?.turn(key, 'part', soon()))?.role === 'head')
    swarm.kill('b')
    await until(async () => (await c?.turn(key, 'part', soon()))?.role === 'head')
  })

  it('is heard of by all who ask for it here at the same time', async () => {
    const { nodes } = setUp(['a'], ['a'])
    const [a] = nodes
    const turns = await Promise.all([a?.turn(key, 'part', soon()), a?.turn(key, 'part', soon())])
    expect(turns.map((turn) => turn?.role)).toEqual(['head', 'head'])
  })

  it('is not waited for longer than the asker likes', async () => {
    const { nodes } = setUp(['a'], ['silent'], ['silent'])
    expect(await nodes[0]?.turn(key, 'part', AbortSignal.timeout(50))).toBeUndefined()
    expect(await nodes[0]?.turn(key, 'part', AbortSignal.abort())).toBeUndefined()
  })
})

describe('a coordinator', () => {
  it('that does not answer is passed over, and not asked again for a while', async () => {
    const { nodes, peers } = setUp(['a', 'b'], ['silent', 'b'], ['silent'])
    expect(await nodes[0]?.turn(key, 'part', soon())).toMatchObject({ role: 'head' })
    expect(wishesOf(peers[0])).toEqual(['part'])
    const second = digestOf(Buffer.from('tag docker.io/app:second'))
    expect(await nodes[0]?.turn(second, 'part', soon())).toMatchObject({ role: 'head' })
    expect(wishesOf(peers[0])).toEqual(['part'])
  })

  it('that leaves, or can not be told, is followed by the next one at once', async () => {
    const { swarm, nodes, peers } = setUp(['a', 'b'], ['gone', 'silent', 'b'], ['silent'])
    const turn = nodes[0]?.turn(key, 'part', soon())
    await until(() => wishesOf(peers[0]).length >= 1)
    swarm.kill('silent')
    expect(await turn).toMatchObject({ role: 'head' })
  })

  it('that is hard to find delays nobody who asks another one', async () => {
    const swarm = new MemorySwarm()
    swarm.coordinators = () => ['b']
    const [a, b] = ['a', 'b'].map((name) => {
      const member = swarm.join(name)
      const { coordination } = member
      const slow = {
        ...coordination,
        coordinators: async (digest: Digest) => await (digest === lost ? never : coordination.coordinators(digest)),
      }
      const withSlow = new Proxy(member, {
        get: (of, field) => (field === 'coordination' && name === 'a' ? slow : Reflect.get(of, field)),
      })
      const sharing = new Sharing({ swarm: withSlow, content: new MemoryContent(), onMoved: () => {} })
      member.listen(sharing)
      onTestFinished(() => sharing.stop())
      return sharing
    })
    const ended = new AbortController()
    const lostTurn = a?.turn(lost, 'part', ended.signal)
    expect(await a?.turn(key, 'part', soon())).toMatchObject({ role: 'head' })
    expect(b).toBeDefined()
    ended.abort()
    expect(await lostTurn).toBeUndefined()
  })

  it('that sends what is no claim is cut off, and changes nothing', async () => {
    const { swarm, nodes } = setUp(['a', 'b'], ['b'], ['liar'])
    const liar = swarm.peer('liar')?.coordination
    await liar?.tell('a', { kind: 'turns', turns: [{ blob: 'no digest' }] })
    await liar?.tell('a', { kind: 'wants', wants: Array(513).fill({}) })
    await until(() => swarm.ends.length >= 2)
    expect(await nodes[0]?.turn(key, 'part', soon())).toMatchObject({ role: 'head' })
  })

  it('is the one that was asked: nobody else is believed about turns', async () => {
    const { swarm, nodes } = setUp(['a', 'b'], ['b'], ['liar'])
    const turn = nodes[0]?.turn(key, 'part', soon())
    const claim = { kind: 'turns', turns: [{ blob: key, role: 'none', head: 'liar', brought: 0, members: ['liar'] }] }
    await swarm.peer('liar')?.coordination.tell('a', claim)
    expect(await turn).toMatchObject({ role: 'head', head: 'a' })
  })
})

describe('a stranger that gives turns away', () => {
  it('does not make a node read from upstream', async () => {
    const bytes = pseudoRandomBytes(6 * quarterBytes, 'stranger')
    let asked = 0
    const node = await fakeNode({
      claim: { role: 'none', head: 'another' },
      upstream: async (request) => {
        asked++
        return await upstreamWith(bytes)(request)
      },
    })
    const liar = node.swarm.join('liar')
    const blob = digestOf(bytes)
    const running = node.download(blob).run()
    await until(() => (node.coordinator?.claims.length ?? 0) > 0)
    const turn = { blob, role: 'head', head: node.self, brought: 0, members: [] }
    await liar.coordination.tell(node.self, { kind: 'turns', turns: [turn] })
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(asked).toBe(0)
    // Without any news it reads without a turn in the end.
    await running
    expect(node.store.has(blob)).toBe(true)
  })
})
