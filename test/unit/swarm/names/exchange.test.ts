import type { Stream } from '@libp2p/interface'
import { decode } from 'cborg'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Frames, frame } from '../../../../daemon/swarm/conversation.ts'
import { MAX_ASKED, MAX_MESSAGE_BYTES, MAX_NAMES, MAX_SUMS } from '../../../../daemon/swarm/names/constants.ts'
import { NameExchange } from '../../../../daemon/swarm/names/exchange.ts'
import { decodeMessage, encodeMessage, type NameSum, sumOf } from '../../../../daemon/swarm/names/message.ts'
import type { NameListener, PeerId, SignedName } from '../../../../daemon/swarm/ports.ts'
import { named, someDigest, statement } from '../../../fixtures/names.ts'
import { streamPair } from '../../../fixtures/stream-pair.ts'

const publisher = '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X'
const say = (reference: string, fields: Partial<SignedName> = {}): SignedName => ({
  ...statement({ reference }),
  publisher,
  signature: Buffer.alloc(64, 7),
  ...fields,
})

/** What a node knows, and has heard. */
class Listener implements NameListener {
  known: readonly SignedName[]
  readonly heard: [PeerId, string][] = []

  constructor(known: readonly SignedName[] = []) {
    this.known = known
  }

  named(peer: PeerId, names: readonly SignedName[]): void {
    for (const { reference } of names) {
      if (reference === 'forged') throw new Error('its signature is wrong')
      this.heard.push([peer, reference])
    }
  }

  *namesFor(_: PeerId, publisher: PeerId): Generator<SignedName> {
    for (const name of this.known) if (name.publisher === publisher) yield name
  }

  *sumsFor(peer: PeerId): Generator<NameSum> {
    for (const publisher of new Set(this.known.map((name) => name.publisher)))
      yield [publisher, sumOf(this.namesFor(peer, publisher))]
  }

  wants(peer: PeerId, publisher: PeerId, sum: Uint8Array): boolean {
    return Buffer.compare(sum, sumOf(this.namesFor(peer, publisher))) !== 0
  }
}

/** Two nodes; streams from a to b fail while `isBroken`. */
function pair(a: Listener, b: Listener) {
  const spent: [PeerId, string][] = []
  const net = { isBroken: false, isDeaf: false, streams: 0, deaf: [] as Stream[] }
  const exchanges = new Map<PeerId, NameExchange>()
  const make = (self: PeerId, names: Listener) => {
    const exchange = new NameExchange({
      names,
      openStream: async (peer) => {
        if (net.isBroken) throw new Error('no connection')
        net.streams++
        const [near, far] = streamPair()
        if (net.isDeaf) net.deaf.push(far)
        else exchanges.get(peer)?.handler(far, { remotePeer: self } as never)
        return near
      },
      limits: { spend: (peer, _ms, what) => spent.push([peer, what]) > 0 },
      log: pino({ level: 'silent' }),
    })
    exchanges.set(self, exchange)
    onTestFinished(() => exchange.stop())
    return exchange
  }
  return { net, spent, a: make('a', a), b: make('b', b) }
}

describe('records on the way', () => {
  it('come as they went', () => {
    const names = [
      say('1', { sequence: 2 ** 40, at: 1_700_000_000_000 }),
      say('2', { digest: undefined, mediaType: undefined, size: 0 }),
      say(someDigest('x'), named('x', { subject: someDigest('y'), artifactType: 'a/b' })),
    ]
    const [message] = new Frames(MAX_MESSAGE_BYTES).push(frame(encodeMessage({ names })))
    expect(decodeMessage(message)).toEqual({ names: names.map((name) => ({ ...name, signature: expect.anything() })) })
  })

  const whole =
    (decode(frame(encodeMessage({ names: [say('1')] })).subarray(4)) as { names: unknown[][] }).names[0] ?? []
  const changed = (at: number, value: unknown) => ({ names: [whole.with(at, value)] })
  it.each<[string, unknown]>([
    ['something else', 'names'],
    ['nothing', {}],
    ['both', { names: [], ask: [publisher] }],
    ['a question for nobody', { ask: [''] }],
    ['questions for too many', { ask: Array(MAX_ASKED + 1).fill(publisher) }],
    ['a sum of another length', { sums: [[publisher, Buffer.alloc(7)]] }],
    ['too many sums', { sums: Array(MAX_SUMS + 1).fill([publisher, Buffer.alloc(8)]) }],
    ['too many', { names: Array(MAX_NAMES + 1).fill(whole) }],
    ['a part of one', { names: [whole.slice(1)] }],
    ['a publisher that is none', changed(0, 'a b')],
    ['a repository that is none', changed(1, 'App')],
    ['a reference that is none', changed(2, 'a b')],
    ['a digest that is none', changed(3, 'sha256:1')],
    ['a type with a line break', changed(4, 'a/b\n')],
    ['a size below zero', changed(5, -1)],
    ['a sequence that is no whole number', changed(8, 1.5)],
    ['a short signature', changed(10, Buffer.alloc(63))],
  ])('are not %s', (_, message) => {
    expect(() => decodeMessage(message)).toThrow()
  })
})

describe('two nodes', () => {
  it('tell each other all at a new connection, in messages that a peer takes, and what is new at once', async () => {
    const known = Array.from({ length: 300 }, (_, index) =>
      say(`${index}`, { mediaType: `application/${'x'.repeat(100)}`, repository: `${'a'.repeat(250)}` }),
    )
    const [a, b] = [new Listener(known), new Listener([say('mine')])]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.b.joined('a')
    await vi.waitFor(() => expect(b.heard.length).toBeGreaterThan(10))
    nodes.a.tell(say('new'))
    nodes.a.tell(say('not for b'), 'b')
    await vi.waitFor(() => expect(b.heard.some(([, reference]) => reference === 'new')).toBe(true))
    expect(b.heard.length).toBeLessThan(301)
    await vi.waitFor(() => expect(b.heard.length).toBe(301), 60_000)
    expect(a.heard).toEqual([['b', 'mine']])
    expect(nodes.net.streams).toBeLessThanOrEqual(2)
  })

  it('tell each other no record that both know, and of each publisher only where they know something else', async () => {
    const other = '12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d'
    const same = Array.from({ length: 300 }, (_, index) => say(`${index}`))
    const more = say('more', { publisher: other, signature: Buffer.alloc(64, 9) })
    const [a, b] = [new Listener([...same, more]), new Listener(same.toReversed())]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.b.joined('a')
    await vi.waitFor(() => expect(b.heard).toEqual([['a', 'more']]))
    expect(a.heard).toEqual([])
  })

  it('ask one of several peers for what all of those know', async () => {
    const told = ['b', 'c', 'd']
    const asked: PeerId[] = []
    const listener = new Listener()
    const exchange = new NameExchange({
      names: listener,
      openStream: async () => {
        throw new Error('they have opened streams themselves')
      },
      limits: { spend: () => true },
      log: pino({ level: 'silent' }),
    })
    onTestFinished(() => exchange.stop())
    const sums = frame(encodeMessage({ sums: [[publisher, sumOf([say('1')])]] }))
    for (const peer of told) {
      exchange.joined(peer)
      const [near, far] = streamPair()
      const frames = new Frames(MAX_MESSAGE_BYTES)
      near.addEventListener('message', ({ data }) => {
        for (const message of frames.push(data.subarray())) if ('ask' in (message as object)) asked.push(peer)
      })
      exchange.handler(far, { remotePeer: peer } as never)
      near.send(sums)
    }
    await vi.waitFor(() => expect(asked).toHaveLength(1))
    // It says nothing; so the next one is asked after a while.
    await vi.waitFor(() => expect(asked).toHaveLength(2), 30_000)
    expect(new Set(asked).size).toBe(2)
  })

  it('tell again what went over a stream that has ended', async () => {
    const [a, b] = [new Listener(), new Listener()]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.b.joined('a')
    nodes.net.isDeaf = true
    a.known = [say('1')]
    nodes.a.tell(say('1'))
    await vi.waitFor(() => expect(nodes.net.deaf).toHaveLength(1))
    expect(b.heard).toEqual([])
    nodes.net.isDeaf = false
    for (const stream of nodes.net.deaf) stream.abort(new Error('the connection ended'))
    await vi.waitFor(() => expect(b.heard).toEqual([['a', '1']]), 30_000)
  })

  it('answer a question for one publisher, at a price', async () => {
    const other = '12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d'
    const [a, b] = [new Listener(), new Listener()]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.b.joined('a')
    a.known = [say('1'), say('2', { publisher: other })]
    nodes.b.ask(other)
    await vi.waitFor(() => expect(b.heard).toEqual([['a', '2']]))
    expect(nodes.spent).toEqual([['b', 'questions for names']])
  })

  it('go on after a failure', async () => {
    const [a, b] = [new Listener([say('1')]), new Listener()]
    const nodes = pair(a, b)
    nodes.net.isBroken = true
    nodes.a.joined('b')
    nodes.b.joined('a')
    await new Promise((resolve) => setImmediate(resolve))
    nodes.net.isBroken = false
    await vi.waitFor(() => expect(b.heard).toEqual([['a', '1']]), 30_000)
  })

  it('ask for what they were told before they could ask', async () => {
    const [a, b] = [new Listener([say('1')]), new Listener()]
    const nodes = pair(a, b)
    const { promise: told, resolve } = Promise.withResolvers<void>()
    const { wants } = b
    b.wants = (...sum) => {
      resolve()
      return wants.apply(b, sum)
    }
    nodes.a.joined('b')
    await told
    nodes.b.joined('a')
    await vi.waitFor(() => expect(b.heard).toEqual([['a', '1']]), 30_000)
  })

  it('ask again where a question could not be sent', async () => {
    const [a, b] = [new Listener(), new Listener()]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.b.joined('a')
    a.known = [say('1')]
    nodes.net.isBroken = true
    nodes.b.ask(publisher)
    await new Promise((resolve) => setImmediate(resolve))
    nodes.net.isBroken = false
    await vi.waitFor(() => expect(b.heard).toEqual([['a', '1']]), 30_000)
  })

  it('charge each other for what is forged or malformed, and end the stream', async () => {
    const [a, b] = [new Listener([say('forged')]), new Listener()]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.b.joined('a')
    await vi.waitFor(() => expect(nodes.spent).toContainEqual(['a', 'messages that it should not send']))
    expect(b.heard).toEqual([])
  })

  it('say no more once a peer is gone', async () => {
    const [a, b] = [new Listener(), new Listener()]
    const nodes = pair(a, b)
    nodes.a.joined('b')
    nodes.a.left('b')
    nodes.a.tell(say('1'))
    nodes.a.ask(publisher)
    await new Promise((resolve) => setImmediate(resolve))
    expect([b.heard, nodes.net.streams]).toEqual([[], 0])
  })
})
