import { describe, expect, it } from 'vitest'
import type { Ask, LogEntry, Message, Wish } from '../../../../daemon/share/plan/messages.ts'
import { decodeMessages, encodeFrames, splitList } from '../../../../daemon/share/wire/messages.ts'
import { WireError } from '../../../../daemon/share/wire/reader.ts'
import {
  type Introduction,
  type ListPart,
  UNKNOWN_BLOB,
  type WireMessage,
} from '../../../../daemon/share/wire/wire-message.ts'
import { Numbering, randomFrom, Samples } from './samples.ts'

const blobs = 600
const numbering = new Numbering(blobs)
const { blobOf, numberOf } = numbering
const blob = numbering.digest(1)

const plan = (message: Message): WireMessage => ({ kind: 'plan', message })
const news = (log: readonly LogEntry[], free = 4) => ({ free, blobs: [{ blob, log }] })
const nothingNew = { free: 0, blobs: [] }
const wish: Wish = { blob, first: 0, coming: [], late: [], broken: new Map() }
const ask: Ask = { kind: 'ask', id: 1, news: nothingNew, wishes: [], oldest: undefined }
const upTo = (end: number) => Array.from({ length: end }, (_, chunk) => chunk)
const wholeUpTo = (end: number) => upTo(end).map((chunk) => ~chunk)

const encode = (...messages: WireMessage[]) => Buffer.concat(encodeFrames(messages, numberOf))
const decode = (bytes: Uint8Array) => [...decodeMessages(bytes, blobOf)]
const decodePlan = (...messages: Message[]) =>
  decode(encode(...messages.map(plan))).map((message) => {
    if (message.kind !== 'plan') throw new Error('another message')
    return message.message
  })

describe('messages of a link', () => {
  it('are read as they were written', () => {
    const samples = new Samples(1, numbering, blobs)
    for (let round = 0; round < 500; round++) {
      const messages = Array.from({ length: round % 5 }, () => samples.message())
      expect(decode(encode(...messages))).toEqual(messages)
    }
  })

  it('are no part of the memory that they are read from, or of that in which the next frame is written', () => {
    const signature = { signer: '12D3KooWsigner', bytes: Buffer.alloc(64, 2) }
    const list: ListPart = { kind: 'list', number: 1, from: 0, states: Buffer.alloc(64, 1), signature }
    const frame = encode(list)
    encode({ ...list, states: Buffer.alloc(64, 9) })
    const read = decode(frame)
    frame.fill(0)
    expect(read).toEqual([list])
  })

  it('are read one by one, so that an introduction counts for what follows', () => {
    const intro: Introduction = { kind: 'intro', number: 7, digest: blob, facts: undefined }
    const frame = Buffer.concat(encodeFrames([intro, plan({ kind: 'bye', blob })], () => 7))
    const known = new Map<number, string>()
    const kinds: string[] = []
    for (const message of decodeMessages(frame, (number) => known.get(number))) {
      kinds.push(message.kind)
      if (message.kind === 'intro') known.set(message.number, message.digest)
    }
    expect(kinds).toEqual(['intro', 'plan'])
  })

  it('are given before a fault that comes after them', () => {
    const frame = Buffer.concat([encode({ kind: 'retract', number: 3 }), Buffer.of(99)])
    const reading = decodeMessages(frame, blobOf)
    expect(reading.next().value).toEqual({ kind: 'retract', number: 3 })
    expect(() => reading.next()).toThrow(new WireError('99 is no kind of message'))
  })

  it('keep what is known of them where a number is not', () => {
    const other = numbering.digest(2)
    const messages: Message[] = [
      { kind: 'bye', blob: other },
      {
        ...ask,
        news: { free: 2, blobs: [{ blob: other, log: [1, 2] }, ...news([3]).blobs] },
        wishes: [
          { ...wish, blob: other, coming: [3], late: [4], broken: new Map([[5, 1]]) },
          { ...wish, first: 6 },
        ],
        oldest: { blob: other, from: 6 },
      },
      { kind: 'head', id: 2, blob: other, chunk: 1, quarter: 3, news: nothingNew },
      { kind: 'news', news: { free: 3, blobs: [{ blob: other, log: [] }] } },
    ]
    const read = [...decodeMessages(encode(...messages.map(plan)), (number) => (number === 1 ? blob : undefined))]
    expect(read).toEqual(
      [
        { ...ask, news: { free: 2, blobs: news([3]).blobs }, wishes: [{ ...wish, first: 6 }] },
        { kind: 'head' as const, id: 2, blob: UNKNOWN_BLOB, chunk: 1, quarter: 3, news: nothingNew },
        { kind: 'news' as const, news: { free: 3, blobs: [] } },
      ].map(plan),
    )
  })

  it.each<[string, number, WireMessage]>([
    ['news of one chunk', 7, plan({ kind: 'news', news: news([~3_000]) })],
    ['news of a chunk of the largest blob', 8, plan({ kind: 'news', news: news([~65_000]) })],
    ['news of a complete blob of 4,096 chunks', 8, plan({ kind: 'news', news: news(wholeUpTo(4_096)) })],
    [
      'news of every second chunk of 4,096',
      2_200,
      plan({ kind: 'news', news: news(upTo(4_096).filter((n) => n % 2)) }),
    ],
    ['free places', 3, plan({ kind: 'news', news: nothingNew })],
    [
      'a head with news of a chunk',
      13,
      plan({ kind: 'head', id: 9_999, blob, chunk: 70, quarter: 0, news: news([~69]) }),
    ],
    [
      'a question with three wishes, four chunks on their way to each',
      64,
      plan({
        ...ask,
        id: 100_000,
        news: news([~3_000, 3_002]),
        wishes: [1, 2, 3].map((number) => ({
          ...wish,
          blob: numbering.digest(number),
          first: 3_000,
          coming: [3_001, 3_002, 3_004, 3_008],
          broken: new Map(number === 1 ? [[3_003, 2]] : []),
        })),
      }),
    ],
    ['none', 4, plan({ kind: 'none', id: 5, news: nothingNew })],
    ['the end of a question', 3, plan({ kind: 'leave', id: 9_999 })],
  ])('are short: %s takes %i bytes at most', (_, most, message) => {
    expect(encode(message).length).toBeLessThanOrEqual(most)
    expect(decode(encode(message))).toHaveLength(1)
  })

  it('tell a log in any order, and of each chunk the most that it says', () => {
    const [read] = decodePlan({ kind: 'news', news: news([~7, 5, 9, ~5, 5, 8, ~0, 70_000]) })
    expect(read).toEqual({ kind: 'news', news: news([~0, ~5, ~7, 8, 9]) })
    expect(decodePlan({ kind: 'news', news: news([]) })).toEqual([{ kind: 'news', news: news([]) }])
  })
})

describe('messages that are too long for the bounds', () => {
  it('are told as several, the news of most blobs first', () => {
    const long = upTo(blobs).map((index) => ({ blob: numbering.digest(index + 1), log: [index] }))
    const read = decodePlan({ kind: 'busy', id: 4, news: { free: 1, blobs: long } })
    expect(read).toEqual([
      { kind: 'news', news: { free: 1, blobs: long.slice(0, 512) } },
      { kind: 'busy', id: 4, news: { free: 1, blobs: long.slice(512) } },
    ])
  })

  it('are told as several where logs are long', () => {
    const long = [1, 2, 3, 4].map((number) => ({ blob: numbering.digest(number), log: wholeUpTo(60_000) }))
    const read = decodePlan({ kind: 'news', news: { free: 1, blobs: long } })
    expect(read.map((message) => (message.kind === 'news' ? message.news.blobs.length : 0))).toEqual([2, 2])
  })

  it('leave out wishes, and chunks of wishes', () => {
    const long = upTo(300)
    const wishes: Wish[] = upTo(blobs).map((index) => ({ ...wish, blob: numbering.digest(index + 1) }))
    wishes[0] = { ...wish, coming: long, late: long, broken: new Map(long.map((chunk) => [chunk, 1])) }
    const [read] = decodePlan({ ...ask, wishes })
    if (read?.kind !== 'ask') throw new Error('another message')
    expect(read.wishes).toHaveLength(512)
    const [{ coming, late, broken } = wish] = read.wishes
    expect([coming.length, late.length, broken.size]).toEqual([256, 256, 256])
  })

  it('leave out what of a blob can not be told', () => {
    const facts = { size: 5, mediaType: 'a/b', access: 'private', repositories: [] } as const
    const tell = (change: object) => {
      const [read] = decode(encode({ kind: 'intro', number: 1, digest: blob, facts: { ...facts, ...change } }))
      return read?.kind === 'intro' ? read.facts : undefined
    }
    expect(tell({ size: 2 ** 36 + 1 })).toBeUndefined()
    expect(tell({ mediaType: 'ä/b' })).toEqual({ ...facts, mediaType: undefined })
    expect(tell({ mediaType: 'a'.repeat(256) })).toEqual({ ...facts, mediaType: undefined })
    expect(tell({ mediaType: `a/b\n${'c'.repeat(251)}` })).toEqual({ ...facts, mediaType: undefined })
    const repositories = upTo(9).map((index) => `r/${index}`)
    expect(tell({ repositories })).toEqual({ ...facts, repositories: repositories.slice(1) })
    expect(tell({ repositories: ['r/a', 'x'.repeat(513)] })).toEqual({ ...facts, repositories: ['r/a'] })
    expect(tell({ access: 'public', repositories })).toEqual({ ...facts, access: 'public' })
  })

  it('take no media type that is none', () => {
    const facts = { size: 5, mediaType: 'a/b', access: 'public', repositories: [] } as const
    const frame = Buffer.from(encode({ kind: 'intro', number: 1, digest: blob, facts }))
    frame.write('a b', frame.indexOf('a/b'))
    const [read] = decode(frame)
    expect(read).toMatchObject({ kind: 'intro', facts: { ...facts, mediaType: undefined } })
  })

  it('free places beyond a byte are told as what a byte can say', () => {
    const free = (count: number) => decodePlan({ kind: 'news', news: { free: count, blobs: [] } })
    expect(free(300)).toEqual([{ kind: 'news', news: { free: 255, blobs: [] } }])
    expect(free(-1)).toEqual([{ kind: 'news', news: { free: 0, blobs: [] } }])
  })

  it('can be told where they are parts of lists', () => {
    const states = Buffer.alloc(70_000 * 32, 5)
    const signature = { signer: '12D3KooWsigner', bytes: Buffer.alloc(64, 2) }
    const list: ListPart = { kind: 'list', number: 1, from: 10, states, signature }
    expect(() => encode(list)).toThrow(RangeError)
    const parts = splitList(list)
    expect(parts.map((part) => [part.from, part.states.length / 32, part.signature])).toEqual([
      [10, 30_000, undefined],
      [30_010, 30_000, undefined],
      [60_010, 10_000, signature],
    ])
    for (const part of parts) {
      const frame = encode(part)
      expect(frame.length).toBeLessThan(2 ** 20)
      expect(decode(frame)).toEqual([part])
    }
    const short = { ...list, states: states.subarray(0, 32) }
    expect(splitList(short)).toEqual([short])
    expect(() => encode({ ...short, states: states.subarray(0, 33) })).toThrow(RangeError)
  })

  it('are not written where they name a blob without a number', () => {
    expect(() => encodeFrames([plan({ kind: 'bye', blob })], () => Number.NaN)).toThrow(RangeError)
    expect(encode(plan({ kind: 'bye', blob }))).toEqual(Buffer.of(10, 1))
  })
})

describe('frames that are none', () => {
  const varint = (value: number): number[] =>
    value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))]
  const text = (value: string) => [...varint(value.length), ...Buffer.from(value)]
  const zeros = (count: number) => Array<number>(count).fill(0)
  const run = (gap: number, length: number) => [...varint(1 + 4 * gap + 3), ...varint(length - 2)]
  const newsOf = (...logs: number[][]) => [3, 0, ...varint(logs.length), ...logs.flatMap((log) => [1, ...log, 0])]
  const wishOf = (...fields: number[]) => [4, 1, 0, 0, 1, 1, ...fields]
  const intro = (flags: number, ...facts: number[]) => [0, 1, 0, ...zeros(32), flags, ...facts]

  /** Bytes on either side of each bound: `right` is read, `wrong` is not. */
  it.each<[bound: string, right: number[], wrong: number[]]>([
    ['kinds', [8, 1], [11, 1]],
    ['numbers of questions', [8, ...varint(2 ** 32 - 1)], [8, ...varint(2 ** 32)]],
    ['numbers of blobs', [2, ...varint(2 ** 32 - 1)], [2, ...varint(2 ** 32)]],
    ['the length of numbers', [8, ...Array(7).fill(0x80), 0], [8, ...Array(8).fill(0x80), 0]],
    ['digest algorithms', [0, 1, 1, ...zeros(64), 0], [0, 1, 2, ...zeros(64), 0]],
    ['flags', intro(1, 5), intro(9, 5)],
    ['flags without the size', intro(3, 5, 0), intro(2, 5, 0)],
    ['sizes', intro(1, ...varint(2 ** 36)), intro(1, ...varint(2 ** 36 + 1))],
    ['the length of media types', intro(3, 5, ...text('a'.repeat(255))), intro(3, 5, ...text('a'.repeat(256)))],
    ['characters of media types', intro(3, 5, 1, 0x7e), intro(3, 5, 1, 0x7f)],
    ['control characters of media types', intro(3, 5, 1, 0x20), intro(3, 5, 1, 0x1f)],
    ['the number of repositories', intro(5, 5, 8, ...zeros(8)), intro(5, 5, 9, ...zeros(9))],
    ['the length of repositories', intro(5, 5, 1, ...text('a'.repeat(512))), intro(5, 5, 1, ...text('a'.repeat(513)))],
    ['UTF-8', intro(5, 5, 1, 2, 0xc3, 0xa9), intro(5, 5, 1, 2, 0xc3, 0x28)],
    ['states before', [1, 1, ...varint(262_143), 0, 0], [1, 1, ...varint(262_144), 0, 0]],
    ['states in all', [1, 1, ...varint(262_142), 1, ...zeros(33)], [1, 1, ...varint(262_143), 1, ...zeros(33)]],
    [
      'states in a part',
      [1, 1, 0, ...varint(30_000), ...zeros(960_001)],
      [1, 1, 0, ...varint(30_001), ...zeros(960_033)],
    ],
    ['whether there is a signature', [1, 1, 0, 0, 0], [1, 1, 0, 0, 2]],
    [
      'signers',
      [1, 1, 0, 0, 1, ...text('a'.repeat(128)), ...zeros(64)],
      [1, 1, 0, 0, 1, ...text('a'.repeat(129)), ...zeros(64)],
    ],
    ['blobs in the news', newsOf(...Array(512).fill([])), newsOf(...Array(513).fill([]))],
    ['the end of runs', newsOf(run(0, 65_536)), newsOf(run(1, 65_536))],
    ['the start of runs', newsOf(varint(1 + 4 * 65_535)), newsOf(varint(1 + 4 * 65_536))],
    ['the length of runs', newsOf(run(0, 65_536)), newsOf(run(0, 65_537))],
    ['chunks in the news', newsOf(run(0, 65_536), run(0, 65_536)), newsOf(run(0, 65_536), run(0, 65_536), [1])],
    [
      'the number of wishes',
      [4, 1, 0, 0, ...varint(512), ...wishes(512), 0],
      [4, 1, 0, 0, ...varint(513), ...wishes(513), 0],
    ],
    [
      'one wish for a blob',
      [4, 1, 0, 0, 2, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0],
      [4, 1, 0, 0, 2, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    ],
    ['the first chunk of wishes', wishOf(...varint(65_536), 0, 0, 0, 0), wishOf(...varint(65_537), 0, 0, 0, 0)],
    [
      'chunks on their way',
      wishOf(0, ...varint(256), ...zeros(256), 0, 0, 0),
      wishOf(0, ...varint(257), ...zeros(257), 0, 0, 0),
    ],
    [
      'late chunks',
      wishOf(0, 0, ...varint(256), ...zeros(256), 0, 0),
      wishOf(0, 0, ...varint(257), ...zeros(257), 0, 0),
    ],
    [
      'broken chunks',
      wishOf(0, 0, 0, ...varint(256), ...zeros(512), 0),
      wishOf(0, 0, 0, ...varint(257), ...zeros(514), 0),
    ],
    ['the number of a chunk', wishOf(0, 1, ...varint(65_535), 0, 0, 0), wishOf(0, 1, ...varint(65_536), 0, 0, 0)],
    ['whether the oldest is asked for', [4, 1, 0, 0, 0, 1, 1, 5], [4, 1, 0, 0, 0, 2, 1, 5]],
    ['the oldest', [4, 1, 0, 0, 0, 1, 1, ...varint(65_536)], [4, 1, 0, 0, 0, 1, 1, ...varint(65_537)]],
    ['the chunk of a head', [5, 1, 0, 0, 1, ...varint(65_535), 0], [5, 1, 0, 0, 1, ...varint(65_536), 0]],
    ['the end of a frame', [9, 1], [9, 1, 9]],
  ])('are refused for %s', (_, right, wrong) => {
    expect(decode(Buffer.from(right))).toHaveLength(1)
    expect(() => decode(Buffer.from(wrong))).toThrow(WireError)
  })

  function wishes(count: number): number[] {
    return upTo(count).flatMap((index) => [...varint(index), 0, 0, 0, 0])
  }

  it('are refused where their messages tell of more chunks than all of a frame may', () => {
    const whole = newsOf(run(0, 65_536))
    const frame = (messages: number) => Buffer.from(Array<number[]>(messages).fill(whole).flat())
    expect(decode(frame(16))).toHaveLength(16)
    expect(() => decode(frame(17))).toThrow('a frame tells of more than 1048576 chunks')
    const nobody = decodeMessages(frame(17), () => undefined)
    expect(() => [...nobody]).toThrow(WireError)
  })

  it('are refused where they end early, at each byte', () => {
    const samples = new Samples(2, numbering, blobs)
    for (let round = 0; round < 200; round++) {
      const frame = encode(samples.message())
      for (let end = 1; end < frame.length; end++)
        expect(() => decode(frame.subarray(0, end)), `${end} of ${frame.toString()}`).toThrow(WireError)
    }
  })

  it('are refused with a WireError, or read within the bounds, whatever is changed in them', () => {
    const samples = new Samples(3, numbering, blobs)
    const random = randomFrom(4)
    let refused = 0
    for (let round = 0; round < 10_000; round++) {
      const frame = encode(samples.message(), samples.message())
      for (let left = 1 + (round % 3); left > 0; left--)
        frame[Math.floor(random() * frame.length)] = Math.floor(random() * 256)
      try {
        for (const message of decode(frame)) expect(entriesOf(message)).toBeLessThanOrEqual(131_072)
      } catch (error) {
        if (!(error instanceof WireError)) throw error
        refused++
      }
    }
    expect(refused).toBeGreaterThan(1_000)
  })

  function entriesOf(message: WireMessage): number {
    if (message.kind !== 'plan' || !('news' in message.message)) return 0
    return message.message.news.blobs.reduce((sum, { log }) => sum + log.length, 0)
  }
})
