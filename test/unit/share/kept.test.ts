import { describe, expect, it, onTestFinished } from 'vitest'
import { Sharing } from '../../../daemon/share/sharing.ts'
import type { WireMessage } from '../../../daemon/share/wire/wire-message.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { fakeNode, peerWith } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'
import { scriptedBlob } from '../../fixtures/peers.ts'
import { type Script, ScriptedPeer } from '../../fixtures/scripted-peer.ts'
import { checkpointsOf, MemoryContent, until } from '../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(9 * quarterBytes + 7, 'kept')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)
const nobody: Script = { bytes, states, held: [] }

const intro = (blob: Digest = digest, number = 1): WireMessage => ({
  kind: 'intro',
  number,
  digest: blob,
  facts: undefined,
})
const news = (log: readonly number[] = [], blob: string = digest): WireMessage => ({
  kind: 'plan',
  message: { kind: 'news', news: { free: 4, blobs: [{ blob, log }] } },
})
const ask = (id: number): WireMessage => ({
  kind: 'plan',
  message: {
    kind: 'ask',
    id,
    news: { free: 4, blobs: [] },
    wishes: [{ blob: digest, first: 0, coming: [], late: [], broken: new Map() }],
    oldest: undefined,
  },
})

/** A node that has the blob, and a peer that may say what it wants, and coordinates all blobs. */
function setUp(keptMs?: number) {
  const swarm = new MemorySwarm()
  const content = new MemoryContent()
  content.add(bytes)
  const member = swarm.join('me')
  const sharing = new Sharing({ swarm: member, content, onMoved: () => {}, ...(keptMs && { keptMs }) })
  member.listen(sharing)
  onTestFinished(() => sharing.stop())
  const you = new ScriptedPeer(swarm.join('you'), nobody)
  swarm.coordinators = () => ['you']
  const meet = async (peer = you) => {
    const before = peer.of('news').length
    peer.say('me', intro(), news())
    await until(() => peer.of('news').length > before)
  }
  const wishes = () =>
    you.claims.flatMap(({ message }) => (message as { wants?: { wish: string }[] }).wants ?? []).map(({ wish }) => wish)
  return { swarm, content, member, sharing, you, meet, wishes }
}

describe('a blob of the store', () => {
  it('is closed soon after it was given, so that it can be evicted, and stays shared', async () => {
    const { you, meet, content, sharing } = setUp()
    await meet()
    const opened = content.opened
    you.say('me', ask(1))
    await until(() => you.parts.length >= 4)
    expect([content.opened - opened, content.opened - content.closed]).toEqual([1, 1])
    await until(() => content.closed === content.opened)
    expect(sharing.status.blobs).toBe(1)
    you.say('me', ask(2))
    await until(() => you.parts.length >= 8)
  })

  it('is let go when nobody speaks of it for long, and opened again when somebody does', async () => {
    const { you, meet, sharing } = setUp(400)
    await meet()
    await until(() => you.of('bye').length > 0)
    expect(you.of('bye')).toEqual([{ kind: 'bye', blob: digest }])
    expect(sharing.status.blobs).toBe(0)
    you.say('me', intro(digest, 2))
    const before = you.of('news').length
    you.say('me', intro(), news(), ask(1))
    await until(() => you.of('news').length > before && sharing.status.blobs === 1)
    you.say('me', ask(2))
    await until(() => you.parts.length >= 4)
  })

  it('stays as long as peers speak of it', async () => {
    const { you, meet, sharing } = setUp(2_000)
    await meet()
    for (let id = 1; id <= 10; id++) {
      you.say('me', ask(id))
      await until(() => you.parts.some((part) => part.id === id))
      const end = performance.now() + 250
      await until(() => performance.now() > end)
    }
    expect([sharing.status.blobs, you.of('bye')]).toEqual([1, []])
  })

  it('is told to be gone before it is deleted: to its coordinator, and to all who speak of it; and its file is closed', async () => {
    const { swarm, you, meet, content, sharing, wishes } = setUp()
    const other = new ScriptedPeer(swarm.join('other'), nobody)
    await meet()
    // It has introduced itself, and told nothing: the plan does not know it.
    other.say('me', intro())
    await until(() => content.opened > 0)
    you.say('me', ask(1))
    await until(() => you.parts.length >= 4)
    await sharing.withdraw(digest)
    expect([content.closed, sharing.status.blobs]).toEqual([content.opened, 0])
    await until(() => you.of('bye').length > 0 && other.of('bye').length > 0)
    await until(() => wishes().includes('gone'))
    expect([you.of('bye'), other.of('bye')]).toEqual([[{ kind: 'bye', blob: digest }], [{ kind: 'bye', blob: digest }]])
    expect(swarm.ends).toEqual([])
  })

  it('that is deleted while some of it is given, is given no further', async () => {
    const { you, meet, content, member, sharing } = setUp()
    await meet()
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    member.gates.parts = gate
    you.say('me', ask(1))
    await until(() => member.sent.parts === 1)
    await sharing.withdraw(digest)
    expect(content.closed).toBe(content.opened)
    await until(() => you.of('bye').length > 0)
    resolve()
    // It may have the blob again.
    await meet()
    you.say('me', ask(2))
    await until(() => you.parts.filter(({ id }) => id === 2).length >= 4)
    expect(you.parts.filter(({ id }) => id === 1)).toEqual([])
  })

  it('that has gone without a word is not shared any more once somebody has asked for it', async () => {
    const { you, meet, content, sharing, wishes } = setUp()
    await meet()
    content.blobs.delete(digest)
    you.say('me', ask(1))
    await until(() => you.of('bye').length > 0)
    expect(you.of('cut')).toEqual([{ kind: 'cut', id: 1 }])
    await until(() => wishes().includes('gone'))
    expect(sharing.status.blobs).toBe(0)
  })

  it('of which the file could not be opened once, can be had later', async () => {
    const { you, meet, content } = setUp()
    await meet()
    const { open } = content
    content.open = async () => {
      throw new Error('too many open files')
    }
    you.say('me', ask(1))
    await until(() => you.of('cut').length > 0)
    content.open = open
    you.say('me', ask(2))
    await until(() => you.parts.length >= 4)
  })

  it('is read from the store after its fetch has ended, and the file of the fetch is closed', async () => {
    const { you, content, sharing } = setUp()
    const fetched = new MemoryContent()
    fetched.add(bytes)
    const fetching = sharing.fetch(
      digest,
      scriptedBlob({
        facts: { size: bytes.length, mediaType: undefined, access: 'public', repositories: [] },
        list: { known: 9, isComplete: true, encode: (from) => states.subarray(from * 32), signed: undefined },
        open: () => fetched.open(digest),
      }),
    )
    fetching.sized(bytes.length, Array(10).keys())
    you.say('me', intro(), news())
    await until(() => you.of('news').length > 0)
    you.say('me', ask(1))
    await until(() => you.parts.length >= 4)
    expect([fetched.opened, fetched.closed]).toEqual([1, 0])
    fetching.end(true)
    await until(() => fetched.closed === 1)
    you.say('me', ask(2))
    await until(() => you.parts.length >= 8)
    expect([fetched.opened, content.opened]).toEqual([1, 1])
  })
})

describe('a peer that says the same again and again', () => {
  it.each([
    ['news of all chunks that a blob can have', () => [news(Array.from({ length: 65_536 }, (_, chunk) => ~chunk))]],
    ['nothing', () => Array<WireMessage>(500).fill(news())],
    [
      'that it takes part, and that it does not',
      () => {
        const bye: WireMessage = { kind: 'plan', message: { kind: 'bye', blob: digest } }
        return Array.from({ length: 500 }, (_, at) => (at % 2 === 0 ? intro() : bye))
      },
    ],
  ] as const)('is left: %s', async (_, messages) => {
    const { you, meet, swarm } = setUp()
    await meet()
    const since = process.cpuUsage()
    for (let frame = 0; frame < 1_000 && swarm.ends.length === 0; frame++) {
      you.say('me', ...messages())
      await new Promise(setImmediate)
    }
    const { user } = process.cpuUsage(since)
    expect(swarm.ends).toHaveLength(1)
    expect(user / 1000).toBeLessThan(10_000)
  })

  it('may speak of an image of hundreds of layers, and is refused more at a time', async () => {
    const { you, meet, content, sharing, swarm } = setUp()
    await meet()
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { list } = content
    content.list = async (blob) => {
      await gate
      return await list.call(content, blob)
    }
    const blobs = Array.from({ length: 2_000 }, (_, at) => digestOf(Buffer.from(`layer ${at}`)))
    for (const [at, blob] of blobs.entries()) you.say('me', intro(blob, at + 2))
    await until(() => you.of('bye').length >= 1_400)
    expect(sharing.status.blobs).toBeGreaterThan(500)
    expect(sharing.status.blobs).toBeLessThan(600)
    resolve()
    await until(() => sharing.status.blobs === 1)
    expect(swarm.ends).toEqual([])
  })
})

it('a blob that takes long to be looked for holds up no other', async () => {
  const { you, content, sharing } = setUp()
  const slow = digestOf(Buffer.from('slow'))
  const { list } = content
  content.list = async (blob) => (blob === slow ? new Promise(() => {}) : await list.call(content, blob))
  you.say('me', intro(slow, 2), intro(), news())
  await until(() => you.of('news').length > 0)
  expect(sharing.status.blobs).toBe(2)
})

it('the checkpoints of a blob of many GiB go in frames of which none is too long', async () => {
  const { member, you, sharing } = setUp()
  const known = 70_000
  const size = (known + 1) * quarterBytes
  const long = pseudoRandomBytes(known * 32, 'long')
  const { send } = member.links
  const lengths: number[] = []
  member.links.send = (to, frame) => {
    lengths.push(frame.length)
    send(to, frame)
  }
  const fetching = sharing.fetch(
    digest,
    scriptedBlob({
      facts: { size, mediaType: undefined, access: 'public', repositories: [] },
      list: { known, isComplete: true, encode: (from) => long.subarray(from * 32), signed: undefined },
    }),
  )
  fetching.sized(size, [])
  you.say('me', intro(), news())
  await until(() => you.of('list').length >= 3)
  expect(Buffer.concat(you.of('list').map((part) => Buffer.from(part.states))).equals(long)).toBe(true)
  expect(you.of('news').length).toBeGreaterThan(0)
  expect(Math.max(...lengths)).toBeLessThan(2 ** 20)
})

it('a part without its head holds up no other once the blob was given up', async () => {
  const node = await fakeNode({
    peers: { you: { ...peerWith(bytes, Buffer.from(states)), answer: 'nothing' } },
    claim: { role: 'none', head: 'you', members: ['you'] },
    upstream: () => new Promise(() => {}),
  })
  const one = node.download(digest)
  const running = one.run()
  const you = node.scripted.get('you')
  await until(() => (you?.of('ask').length ?? 0) > 0)
  const { id = 0 } = you?.of('ask')[0] ?? {}
  const part = node.sharing.part('you', { id, quarter: 0 }, Buffer.alloc(quarterBytes))
  you?.say(node.self, { kind: 'plan', message: { kind: 'bye', blob: digest } })
  await part
  await until(() => (you?.of('leave') ?? []).some((left) => left.id === id))
  one.abort(new Error('enough'))
  await running
})
