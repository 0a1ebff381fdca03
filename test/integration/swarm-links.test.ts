import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test } from 'vitest'
import { MAX_MESSAGE_BYTES, MAX_PART_BYTES } from '../../daemon/swarm/link/constants.ts'
import { ShareRecorder } from '../fixtures/share-listener.ts'
import { type TestNode, type TestNodeOptions, TestSwarm, transferPeers, until } from '../fixtures/swarm.ts'

const swarm = new TestSwarm()
afterEach(() => swarm.close())

interface Side {
  readonly node: TestNode
  readonly id: string
  readonly heard: ShareRecorder
}

/** Two nodes that know each other, and what each is told. */
async function pair(options: TestNodeOptions = {}): Promise<[Side, Side]> {
  const [one, other] = [new ShareRecorder(), new ShareRecorder()]
  const a = await swarm.node({ ...options, listener: one })
  const b = await swarm.node({ ...options, listener: other, config: { seeds: [a.address()] } })
  await connected(a, b)
  return [
    { node: a, id: a.peerId(), heard: one },
    { node: b, id: b.peerId(), heard: other },
  ]
}

const connected = (a: TestNode, b: TestNode) => until(() => transferPeers(a) === 1 && transferPeers(b) === 1)

const send = (from: Side, to: Side, text: string) => from.node.swarm.links.send(to.id, Buffer.from(text, 'latin1'))

const never = new AbortController().signal

const sendPart = (from: Side, to: Side, id: number, bytes: Uint8Array, signal = never) =>
  from.node.swarm.links.sendPart(to.id, { id, quarter: id % 4 }, bytes, signal)

const texts = (count: number, name: string) => Array.from({ length: count }, (_, index) => `${name} ${index}`)

describe('messages', () => {
  test('of all lengths arrive in the order in which they were sent, in both directions', async () => {
    const [a, b] = await pair()
    const sent = [
      ...texts(300, 'short'),
      '',
      randomBytes(MAX_MESSAGE_BYTES).toString('latin1'),
      ...texts(300, 'after it'),
      randomBytes(40_000).toString('latin1'),
    ]
    for (const text of sent) send(a, b, text)
    await until(() => b.heard.messages.length === sent.length)
    for (const text of sent) send(b, a, text)
    await until(() => a.heard.messages.length === sent.length)
    expect(b.heard.messages.every((text, index) => text === sent[index])).toBe(true)
    expect(a.heard.messages.every((text, index) => text === sent[index])).toBe(true)
    expect([a.heard.ended, b.heard.ended]).toEqual([[], []])
  })

  test('arrive, as many as the checkpoints of the largest blob are, where they are sent at once', async () => {
    const [a, b] = await pair()
    const message = 'x'.repeat(960_000)
    for (let count = 0; count < 9; count++) send(a, b, message)
    await until(() => b.heard.messages.length === 9 || a.heard.ended.length > 0)
    expect(a.heard.ended).toEqual([])
  })

  test('arrive where both sides open the link at the same moment', async () => {
    const [a, b] = await pair()
    const [fromA, fromB] = [texts(200, 'a'), texts(200, 'b')]
    for (let index = 0; index < 100; index++) {
      send(a, b, fromA[index] ?? '')
      send(b, a, fromB[index] ?? '')
    }
    await until(() => a.heard.messages.length === 100 && b.heard.messages.length === 100)
    for (const text of fromA.slice(100)) send(a, b, text)
    for (const text of fromB.slice(100)) send(b, a, text)
    await until(() => a.heard.messages.length === 200 && b.heard.messages.length === 200)
    expect([a.heard.messages, b.heard.messages]).toEqual([fromB, fromA])
    expect([a.heard.ended, b.heard.ended]).toEqual([[], []])
  })

  test('may be answered from within the listener', async () => {
    const [a, b] = await pair()
    b.heard.onMessage = (_, bytes) => send(b, a, `answer to ${Buffer.from(bytes)}`)
    for (const text of texts(50, 'question')) send(a, b, text)
    await until(() => a.heard.messages.length === 50)
    expect(a.heard.messages).toEqual(texts(50, 'answer to question'))
  })

  test('to a peer that nobody knows are lost, which is told', async () => {
    const [a] = await pair()
    const nobody = '12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN'
    a.node.swarm.links.send(nobody, Buffer.from('hello'))
    expect(a.heard.ended).toEqual([])
    await until(() => a.heard.ended.length === 1)
    expect(a.heard.ended).toEqual([nobody])
    await expect(a.node.swarm.links.sendPart(nobody, { id: 1, quarter: 0 }, Buffer.from('x'), never)).rejects.toThrow()
  })
})

describe('parts', () => {
  test('arrive as they were sent, in both directions at once, and are counted', async () => {
    const [a, b] = await pair()
    const lengths = [MAX_PART_BYTES, 1, 65_536, 65_537, MAX_PART_BYTES - 1, MAX_PART_BYTES]
    const parts = lengths.map((length) => randomBytes(length))
    await Promise.all(parts.flatMap((bytes, id) => [sendPart(a, b, id, bytes), sendPart(b, a, id, bytes)]))
    await until(() => a.heard.parts.length === parts.length && b.heard.parts.length === parts.length)
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      expect(to.heard.parts.map(({ peer, head }) => [peer, head.id, head.quarter])).toEqual(
        parts.map((_, id) => [from.id, id, id % 4]),
      )
      expect(to.heard.parts.every(({ bytes }, id) => bytes.equals(parts[id] ?? Buffer.alloc(0)))).toBe(true)
    }
    const total = lengths.reduce((sum, length) => sum + length, 0)
    expect([a.heard.bytes, b.heard.bytes]).toEqual([
      { in: total, out: total },
      { in: total, out: total },
    ])
  })

  test('that are not taken are not read, and hold up who sends them, but no messages', async () => {
    const [a, b] = await pair()
    const gate = Promise.withResolvers<void>()
    b.heard.gate = gate.promise
    const part = randomBytes(MAX_PART_BYTES)
    const count = 120
    let sent = 0
    const sending = Array.from({ length: count }, (_, id) => sendPart(a, b, id, part).then(() => sent++))
    await until(() => b.heard.bytes.in === 2 * MAX_PART_BYTES)
    b.heard.onMessage = () => send(b, a, 'pong')
    for (let round = 1; round <= 100; round++) {
      send(a, b, 'ping')
      await until(() => a.heard.messages.length === round)
    }
    expect(sent).toBeLessThan(count / 2)
    expect(b.heard.bytes.in).toBe(2 * MAX_PART_BYTES)
    b.heard.gate = undefined
    gate.resolve()
    await Promise.all(sending)
    await until(() => b.heard.parts.length === count)
    expect(b.heard.mostUntaken).toBeLessThanOrEqual(2 * MAX_PART_BYTES)
    expect(b.heard.parts.every(({ head, bytes }, id) => head.id === id && bytes.equals(part))).toBe(true)
  })

  test('are given up in the middle, and those after them arrive', async () => {
    const [a, b] = await pair()
    const gate = Promise.withResolvers<void>()
    b.heard.gate = gate.promise
    const part = randomBytes(MAX_PART_BYTES)
    const givenUp = new AbortController()
    const sending = Array.from({ length: 120 }, (_, id) => sendPart(a, b, id, part, givenUp.signal))
    await sending[0]
    await until(() => b.heard.bytes.in === 2 * MAX_PART_BYTES)
    givenUp.abort(new Error('not wanted any more'))
    const outcomes = await Promise.allSettled(sending)
    const rejected = outcomes.filter(({ status }) => status === 'rejected')
    expect(rejected.length).toBeGreaterThan(0)
    expect(rejected.every((outcome) => String((outcome as PromiseRejectedResult).reason).includes('not wanted'))).toBe(
      true,
    )
    await expect(sendPart(a, b, 500, part, givenUp.signal)).rejects.toThrow('not wanted')
    b.heard.gate = undefined
    gate.resolve()
    const last = randomBytes(MAX_PART_BYTES)
    await sendPart(a, b, 1000, last)
    await until(() => b.heard.parts.at(-1)?.head.id === 1000)
    expect(b.heard.parts.at(-1)?.bytes.equals(last)).toBe(true)
    expect(b.heard.parts.slice(0, -1).every(({ bytes }) => bytes.equals(part))).toBe(true)
    expect([a.heard.ended, b.heard.ended]).toEqual([[], []])
  })

  test('that the listener rejects end the link, and so does a message that it throws at', async () => {
    const [a, b] = await pair()
    b.heard.gate = Promise.reject(new Error('not asked for'))
    b.heard.gate.catch(() => {})
    await sendPart(a, b, 1, Buffer.from('x'))
    await until(() => a.heard.ended.length === 1 && b.heard.ended.length === 1)
    b.heard.onMessage = () => {
      throw new Error('malformed')
    }
    send(a, b, 'x')
    await until(() => a.heard.ended.length === 2 && b.heard.ended.length === 2)
    expect(b.heard.ended).toEqual([a.id, a.id])
  })

  test('without bytes, or longer than a quarter, are refused', async () => {
    const [a, b] = await pair()
    for (const length of [0, MAX_PART_BYTES + 1]) {
      await expect(sendPart(a, b, 1, Buffer.alloc(length))).rejects.toThrow(RangeError)
    }
  })
})

describe('a link', () => {
  test('with a peer that is banned is cut, and made no more', async () => {
    const [a, b] = await pair()
    send(a, b, 'hello')
    await until(() => b.heard.messages.length === 1)
    a.node.swarm.ban(b.id, 'wrong bytes')
    await until(() => a.heard.ended.length === 1 && b.heard.ended.length >= 1)
    send(a, b, 'again')
    await until(() => a.heard.ended.length === 2)
    send(b, a, 'again')
    await until(() => b.heard.ended.length >= 2)
    expect([a.heard.messages, b.heard.messages]).toEqual([[], ['hello']])
  })

  test('with a peer that stops is gone once, with all that waits, and is made again when it is back', async () => {
    const [a, b] = await pair()
    const gate = Promise.withResolvers<void>()
    b.heard.gate = gate.promise
    send(a, b, 'hello')
    const sending = Promise.allSettled(
      Array.from({ length: 120 }, (_, id) => sendPart(a, b, id, Buffer.alloc(MAX_PART_BYTES))),
    )
    await until(() => b.heard.messages.length === 1 && b.heard.bytes.in === 2 * MAX_PART_BYTES)
    await b.node.restart()
    gate.resolve()
    expect((await sending).some(({ status }) => status === 'rejected')).toBe(true)
    await until(() => a.heard.lost.length === 1)
    expect([a.heard.ended, a.heard.lost, b.heard.ended]).toEqual([[b.id], [b.id], []])
    await connected(a.node, b.node)
    send(a, b, 'again')
    await until(() => b.heard.messages.length === 2)
    expect(b.heard.messages).toEqual(['hello', 'again'])
    expect(a.heard.ended).toEqual([b.id])
  })

  test('over which nothing goes is closed, and made again when something does', async () => {
    const [a, b] = await pair({ linkIdleMs: 200 })
    send(a, b, 'hello')
    await sendPart(b, a, 1, Buffer.from('x'))
    await until(() => a.heard.ended.length === 1 && b.heard.ended.length === 1)
    send(b, a, 'again')
    await until(() => a.heard.messages.includes('again'))
  })

  test('is used by nobody who does not run', async () => {
    const [a, b] = await pair()
    await a.node.stop()
    send(a, b, 'hello')
    await expect(sendPart(a, b, 1, Buffer.from('x'))).rejects.toThrow('not running')
    expect(a.heard.ended).toEqual([])
  })
})
