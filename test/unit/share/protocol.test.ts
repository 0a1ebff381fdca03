import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FetchedBlob } from '../../../daemon/share/local-blob.ts'
import type { Message } from '../../../daemon/share/plan/messages.ts'
import { Sharing } from '../../../daemon/share/sharing.ts'
import { encodeFrames } from '../../../daemon/share/wire/messages.ts'
import type { WireMessage } from '../../../daemon/share/wire/wire-message.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { fakeNode, peerWith, upstreamWith } from '../../fixtures/downloads.ts'
import { MemorySwarm } from '../../fixtures/memory-swarm.ts'
import { type Script, ScriptedPeer } from '../../fixtures/scripted-peer.ts'
import { checkpointsOf, MemoryContent, until } from '../../fixtures/swarm.ts'

/** Three chunks, of which the last one is short. */
const bytes = pseudoRandomBytes(9 * quarterBytes + 7, 'protocol')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)
const other = digestOf(Buffer.from('another blob'))
const nobody: Script = { bytes, states, held: [] }

const news = (log: readonly number[] = [], blob: string = digest, free = 4): WireMessage => ({
  kind: 'plan',
  message: { kind: 'news', news: { free, blobs: [{ blob, log }] } },
})

const ask = (id: number, more: Partial<Extract<Message, { kind: 'ask' }>> = {}): WireMessage => ({
  kind: 'plan',
  message: {
    kind: 'ask',
    id,
    news: { free: 4, blobs: [] },
    wishes: [{ blob: digest, first: 0, coming: [], late: [], broken: new Map() }],
    oldest: undefined,
    ...more,
  },
})

/** A node that has the blob, and a peer that may say what it wants. */
function setUp() {
  const swarm = new MemorySwarm()
  const content = new MemoryContent()
  content.add(bytes)
  const member = swarm.join('me')
  const sharing = new Sharing({ swarm: member, content, onMoved: () => {} })
  member.listen(sharing)
  onTestFinished(() => sharing.stop())
  const you = new ScriptedPeer(swarm.join('you'), nobody)
  const introduce = (blob = digest) =>
    you.say('me', { kind: 'intro', number: 1, digest: blob, facts: undefined }, news([], blob))
  return { swarm, content, member, sharing, you, introduce }
}

describe('a node that has a blob', () => {
  it('introduces itself to whoever speaks of it, with its facts, its list and its chunks', async () => {
    const { you, introduce, sharing } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    const [intro] = you.of('intro')
    expect(intro).toMatchObject({ digest, facts: { size: bytes.length, access: 'public' } })
    const [list] = you.of('list')
    expect(Buffer.from(list?.states ?? []).equals(states)).toBe(true)
    expect(you.of('news')[0]?.news.blobs).toEqual([{ blob: digest, log: [~0, ~1, ~2] }])
    expect(sharing.status).toEqual({ blobs: 1, peers: 1 })
  })

  it('gives a chunk for a question, from the part on that is lacking', async () => {
    const { you, introduce } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    const broken = new Map([[2, 1]])
    you.say('me', ask(7, { wishes: [{ blob: digest, first: 2, coming: [], late: [], broken }] }))
    await until(() => you.parts.length >= 1)
    expect(you.of('head')).toMatchObject([{ id: 7, blob: digest, chunk: 2, quarter: 1 }])
    expect(you.parts[0]).toMatchObject({ id: 7, quarter: 1 })
    expect(you.parts[0]?.bytes.equals(bytes.subarray(9 * quarterBytes))).toBe(true)
    you.say('me', ask(8))
    await until(() => you.parts.length >= 5)
    const whole = Buffer.concat(you.parts.slice(1).map((part) => part.bytes))
    expect(whole.equals(bytes.subarray(0, 4 * quarterBytes))).toBe(true)
  })

  it('stops an answer that is not wanted any more', async () => {
    const { you, introduce, member } = setUp()
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    introduce()
    await until(() => you.of('news').length > 0)
    member.gates.parts = gate
    you.say('me', ask(1))
    await until(() => member.sent.parts === 1)
    you.say('me', { kind: 'plan', message: { kind: 'leave', id: 1 } }, ask(2))
    await until(() => you.of('head').length >= 2)
    resolve()
    await until(() => you.parts.length >= 4)
    expect(you.parts.map(({ id }) => id)).toEqual([2, 2, 2, 2])
  })

  it('says that it can not go on, where the blob was dropped', async () => {
    const { you, introduce, content, swarm } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    content.blobs.delete(digest)
    you.say('me', ask(1))
    await until(() => you.of('cut').length >= 1)
    expect([you.of('cut')[0]?.id, you.parts, swarm.ends]).toEqual([1, [], []])
  })

  it('forgets it, and the peer, when the last one takes no part any more, and lets go of the file', async () => {
    const { you, introduce, content, sharing, swarm } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    you.say('me', ask(1))
    await until(() => you.parts.length >= 4)
    you.say('me', { kind: 'plan', message: { kind: 'bye', blob: digest } })
    await until(() => sharing.status.blobs === 0)
    await until(() => content.closed === content.opened)
    swarm.cut('me', 'you')
    await until(() => sharing.status.peers === 0)
  })

  it('forgets both when the peer is gone', async () => {
    const { you, introduce, content, sharing, swarm } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    swarm.kill('you')
    await until(() => sharing.status.blobs === 0 && sharing.status.peers === 0)
    await until(() => content.closed === content.opened)
  })
})

describe('a node that does not have a blob', () => {
  it('refuses it, and remembers nothing of it', async () => {
    const { you, introduce, sharing } = setUp()
    introduce(other)
    await until(() => you.of('bye').length >= 1)
    expect(you.of('bye')).toEqual([{ kind: 'bye', blob: other }])
    expect(sharing.status.blobs).toBe(0)
  })

  it('does so as often as it is told, without an end of the link', async () => {
    const { you, sharing, swarm } = setUp()
    for (let number = 1; number <= 5_000; number++) {
      const blob = digestOf(Buffer.from(`blob ${number}`))
      you.say('me', { kind: 'intro', number, digest: blob, facts: undefined })
      if (number % 500 === 0) await until(() => you.of('bye').length >= number)
    }
    expect([sharing.status.blobs, swarm.ends]).toEqual([0, []])
  })
})

describe('a peer that speaks of a blob again and again', () => {
  it('under a new number after each fetch, does not use up its numbers', async () => {
    const { sharing, swarm, content } = setUp()
    content.blobs.clear()
    const peer = swarm.join('peer')
    new ScriptedPeer(peer, { ...nobody, ready: new Promise<void>(() => {}) })
    const list = { known: 0, isComplete: false, encode: () => new Uint8Array(0), signed: undefined }
    const ignore = () => {}
    const blob: FetchedBlob = {
      facts: undefined,
      list,
      open: async () => undefined,
      introduced: ignore,
      listed: ignore,
      told: ignore,
      parted: ignore,
      headed: ignore,
      take: async () => 'unknown',
      verifiable: async () => false,
      read: ignore,
      unread: ignore,
    }
    for (let number = 1; number <= 4_200; number++) {
      const fetching = sharing.fetch(digest, blob)
      const intro = { kind: 'intro', number, digest, facts: undefined } as const
      for (const frame of encodeFrames([intro, news()], () => number)) peer.links.send('me', frame)
      while (fetching.peers === 0) await nextTurn()
      fetching.end(false)
    }
    await until(() => sharing.status.blobs === 0)
    expect(swarm.ends).toEqual([])
  })
})

describe('hostile frames', () => {
  it.each([
    ['no message', Buffer.from([99])],
    ['one that ends early', Buffer.from([0, 1, 0])],
    ['news of more chunks than a blob has', Buffer.from([3, 4, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0])],
  ])('end the link and change nothing else: %s', async (_, frame) => {
    const { you, introduce, sharing, swarm } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    const next = new ScriptedPeer(swarm.join('next'), nobody)
    next.say('me', { kind: 'intro', number: 1, digest, facts: undefined }, news())
    await until(() => next.of('news').length > 0)
    swarm.peer('you')?.links.send('me', frame)
    await until(() => you.lost.length >= 1)
    expect(swarm.ends).toHaveLength(1)
    expect(sharing.status).toEqual({ blobs: 1, peers: 1 })
    next.say('me', ask(1))
    await until(() => next.parts.length >= 4)
  })

  it('that tell the same chunks again and again, a few bytes for many, end the link', async () => {
    const { you, introduce, swarm } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    const all = news(Array.from({ length: 65_536 }, (_, chunk) => ~chunk))
    for (let count = 0; count < 16; count++) you.say('me', all)
    you.say('me', { kind: 'intro', number: 2, digest: other, facts: undefined })
    await until(() => you.of('bye').length > 0)
    expect(you.lost).toEqual([])
    for (let count = 0; count < 64; count++) you.say('me', all)
    await until(() => you.lost.length >= 1)
    expect(swarm.ends).toEqual([expect.stringContaining('chunks')])
  })

  it('that are parts of no question, or about blobs that nobody named, are left', async () => {
    const { you, introduce, member, swarm } = setUp()
    introduce()
    await until(() => you.of('news').length > 0)
    await swarm.peer('you')?.links.sendPart('me', { id: 5, quarter: 0 }, Buffer.alloc(9), new AbortController().signal)
    you.say('me', { kind: 'list', number: 77, from: 3, states: Buffer.alloc(32), signature: undefined })
    you.say('me', { kind: 'retract', number: 78 }, { kind: 'plan', message: { kind: 'cut', id: 9 } })
    you.say('me', ask(1))
    await until(() => you.parts.length >= 4)
    expect([swarm.ends, member.sent.parts]).toEqual([[], 4])
  })

  it('of checkpoints that can not follow those before end the link, and the fetch goes on', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const node = await fakeNode({
      peers: { liar: { ...nobody, states: states.subarray(0, 64) } },
      claim: { role: 'head' },
      upstream: async (request) => {
        await gate
        return await upstreamWith(bytes)(request)
      },
    })
    const running = node.download(digest).run()
    const liar = node.scripted.get('liar')
    await until(() => (liar?.of('intro').length ?? 0) >= 1)
    await delay(50)
    liar?.say(node.self, { kind: 'list', number: 1, from: 5, states: states.subarray(0, 32), signature: undefined })
    await until(() => (liar?.lost.length ?? 0) >= 1)
    expect(node.swarm.ends).toEqual([expect.stringContaining('checkpoints from 6 on')])
    resolve()
    await running
    expect(node.store.has(digest)).toBe(true)
  })
})

describe('a node that fetches a blob', () => {
  it('introduces it without a size, and again when it knows it, with what it has', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const node = await fakeNode({
      peers: { you: { ...nobody, ready: new Promise<void>(() => {}) } },
      claim: { role: 'head' },
      upstream: async (request) => {
        await gate
        return await upstreamWith(bytes)(request)
      },
    })
    const you = node.scripted.get('you')
    const running = node.download(digest).run()
    await until(() => (you?.of('intro').length ?? 0) >= 1)
    expect(you?.of('intro')[0]?.facts).toBeUndefined()
    resolve()
    await running
    await until(() => (you?.of('intro').length ?? 0) >= 2)
    expect(you?.of('intro')[1]?.facts).toMatchObject({ size: bytes.length })
    await until(() =>
      (you?.of('news') ?? []).flatMap(({ news: { blobs } }) => blobs.flatMap(({ log }) => log)).includes(~2),
    )
    const told = Buffer.concat((you?.of('list') ?? []).map((list) => Buffer.from(list.states)))
    expect(told.equals(states)).toBe(true)
  })

  it('hears those who spoke of it before, although they were refused while it was looked for in the store', async () => {
    const node = await fakeNode({
      upstream: async () => Promise.reject(new Error('it is not asked')),
      claim: { role: 'none', head: 'you' },
    })
    const you = new ScriptedPeer(node.swarm.join('you'), peerWith(bytes, states))
    // In the same turn: the store is still being looked at.
    const frame = new Promise<void>((resolve) => {
      const { message } = node.sharing
      node.sharing.message = (...args) => {
        message.apply(node.sharing, args)
        if (args[0] === 'you') resolve()
      }
    })
    you.introduce(node.self, digest)
    await frame
    await node.download(digest).run()
    expect([node.store.has(digest), node.moved.in >= bytes.length, node.swarm.ends]).toEqual([true, true, []])
  })

  it('takes back what it told where its list was cut, and tells anew', async () => {
    const forged = Buffer.from(bytes).fill(7, 5 * quarterBytes, 5 * quarterBytes + 90)
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const falseStates = await checkpointsOf(forged)
    const node = await fakeNode({
      peers: { liar: peerWith(forged, falseStates), you: { ...nobody, states: new Uint8Array(0) } },
      claim: { role: 'head' },
      upstream: async (request) => {
        await gate
        return await upstreamWith(bytes)(request)
      },
    })
    const you = node.scripted.get('you')
    const running = node.download(digest).run()
    const list = () => Buffer.concat((you?.of('list') ?? []).map((one) => Buffer.from(one.states)))
    await until(() => list().length > 0)
    expect(list().equals(falseStates)).toBe(true)
    resolve()
    await running
    expect(node.store.has(digest)).toBe(true)
    await until(() => (you?.of('retract').length ?? 0) > 0)
    const after = you?.heard.slice(you.heard.findLastIndex(({ message }) => message.kind === 'retract')) ?? []
    await until(() => list().subarray(-states.length).equals(states))
    expect(after.length).toBeGreaterThan(0)
    expect(node.banned).toEqual(['liar'])
  })

  it('takes parts that are here before the message that says what they are', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const node = await fakeNode({
      peers: { you: peerWith(bytes, states) },
      claim: { role: 'none', head: 'you', members: ['you'] },
      upstream: async () => Promise.reject(new Error('it is not asked')),
    })
    const you = node.scripted.get('you')
    const running = node.download(digest).run()
    const member = you && node.swarm.peer('you')
    await until(() => (you?.of('ask').length ?? 0) > 0)
    if (member !== undefined) member.gates.messages = gate
    await delay(200)
    resolve()
    await running
    expect([node.store.has(digest), node.moved.in >= bytes.length, node.swarm.ends]).toEqual([true, true, []])
  })

  it('leaves nothing behind where it is given up', async () => {
    const node = await fakeNode({
      peers: { you: { ...nobody, ready: new Promise<void>(() => {}) } },
      claim: { role: 'head' },
      upstream: async () => new Promise(() => {}),
    })
    const one = node.download(digest)
    const running = one.run()
    const you = node.scripted.get('you')
    await until(() => (you?.of('intro').length ?? 0) >= 1)
    one.abort(new Error('nobody waits any more'))
    await running
    await until(() => (you?.of('bye').length ?? 0) >= 1)
    expect(node.sharing.status.blobs).toBe(0)
    expect(node.coordinator?.claims.at(-1)?.message).toMatchObject({ wants: [{ wish: 'gone' }] })
  })
})
