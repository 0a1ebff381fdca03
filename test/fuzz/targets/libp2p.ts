import assert from 'node:assert/strict'
import { encode } from 'cborg'
import { ZodError } from 'zod'
import { encodeTurns, encodeWants, parseClaim } from '../../../daemon/share/wire/claims.ts'
import { WireError } from '../../../daemon/share/wire/reader.ts'
import {
  decodeAnswer as decodeAnnounceAnswer,
  decodeAnnouncement,
  encodeAnswer as encodeAnnounceAnswer,
  encodeAnnouncement,
} from '../../../daemon/swarm/announce/message.ts'
import { Frames, frame } from '../../../daemon/swarm/conversation.ts'
import {
  type Decode,
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  Messages,
} from '../../../daemon/swarm/find/message.ts'
import { MAX_REASON_LENGTH } from '../../../daemon/swarm/hello/constants.ts'
import { decodeFinding, encodeFinding } from '../../../daemon/swarm/hello/finding.ts'
import { announcedPlaces, decodeHello, encodeHello } from '../../../daemon/swarm/hello/message.ts'
import { decodeMessage, encodeAnswer as encodeMdnsAnswer, encodeQuery } from '../../../daemon/swarm/mdns/message.ts'
import { decodeMessage as decodeNames, encodeMessage as encodeNames } from '../../../daemon/swarm/names/message.ts'
import { parsePlace } from '../../../daemon/swarm/transfer/places.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { pieces, type Random, type Target, taken } from '../target.ts'

const peers = [
  '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X',
  '12D3KooWRm8J3iL796zPFi2EtGGtUJn58AG67gcUM9qPdSqpuZwG',
]
const key = (fill: number) => Buffer.alloc(32, fill)
const digest = digestOf(Buffer.from('a blob'))

/** All messages of a stream, or the error that ends it. */
function read<T>(push: (bytes: Buffer) => Iterable<T>, parts: readonly Buffer[]): { messages: T[]; error?: string } {
  const messages: T[] = []
  try {
    for (const part of parts) for (const message of push(part)) messages.push(message)
    return { messages }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    return { messages, error: error.message }
  }
}

/** Messages of one stream, which may come in any pieces, and are the same when they are written again. */
function streamed<T>(name: string, decode: Decode<T>, encodeOne: (message: T) => Uint8Array, corpus: Buffer[]): Target {
  const whole = Buffer.concat(corpus)
  return {
    name,
    corpus: [...corpus, whole],
    run: (bytes: Buffer, random: Random) => {
      const push = () => {
        const messages = new Messages(decode)
        return (part: Buffer) => messages.push(part)
      }
      const at = read(push(), [bytes])
      assert.deepEqual(read(push(), pieces(bytes, random)), at)
      for (const message of at.messages) {
        const again = decode(Buffer.from(encodeOne(message)))
        assert.deepEqual(again?.message, message)
      }
    },
  }
}

const claims = [
  encodeWants([
    { blob: digest, brought: 3, wish: 'part', sought: 16 },
    { blob: digest, brought: 0, wish: 'soon', sought: 0, far: 1 },
  ]),
  encodeTurns([
    { blob: digest, role: 'head', head: peers[0], brought: 7, members: peers },
    { blob: digest, role: 'none', far: 'racer', head: undefined, brought: 0, members: [] },
  ]),
]

const name = { repository: 'team/app', reference: '1.0', digest, mediaType: 'a/b', size: 7, sequence: 3, at: 0 }
const names = [
  { ...name, publisher: peers[0] ?? '', subject: undefined, artifactType: undefined, signature: Buffer.alloc(64, 1) },
  {
    ...name,
    publisher: peers[1] ?? '',
    reference: digest,
    subject: digest,
    artifactType: 'c/d',
    signature: Buffer.alloc(64, 2),
  },
]

export const libp2pTargets: readonly Target[] = [
  {
    name: 'names',
    corpus: [names, names.slice(0, 1)]
      .map((some) => Buffer.from(encode(encodeNames({ names: some }))))
      .concat(Buffer.from(encode({ ask: [peers[0]] })))
      .concat(Buffer.from(encode({ sums: [[peers[0], Buffer.alloc(8, 1)]] }))),
    words: ['names', 'ask', 'sums', digest],
    run: (bytes) => {
      const frames = new Frames(2 ** 15)
      const head = Buffer.alloc(4)
      head.writeUInt32BE(Math.min(bytes.length, 2 ** 15))
      for (const value of read((part) => frames.push(part), [Buffer.concat([head, bytes])]).messages) {
        const message = taken(
          () => decodeNames(value),
          (error) => error instanceof ZodError,
        )
        if (message !== undefined) assert.deepEqual(decodeNames(encodeNames(message)), message)
      }
    },
  },
  {
    name: 'hello',
    corpus: [
      Buffer.from(encodeHello({ port: 4051, fingerprint: 'ab'.repeat(32) })),
      Buffer.from(
        encodeHello({ port: 1, fingerprint: '0'.repeat(64), site: 'rack-1', transfer: ['a.example:1', '[::1]:65535'] }),
      ),
    ],
    words: ['"version":', '"port":', '"site":', '"transfer":', '[', ']', '{', '}', '[::1]:1', 'null', '1e99'],
    run: (bytes) => {
      const hello = taken(
        () => decodeHello(bytes),
        (error) => error instanceof Error,
      )
      if (hello === undefined) return
      assert.ok(hello.port >= 1 && hello.port <= 65535 && hello.fingerprint.length === 64)
      for (const { host, port } of announcedPlaces(hello)) assert.ok(host !== '' && port > 0 && port < 65536)
      const { version: _, ...told } = hello
      const { version: __, ...again } = decodeHello(encodeHello(told))
      assert.deepEqual(again, told)
    },
  },
  {
    name: 'finding',
    corpus: [
      Buffer.from(encodeFinding({ isOpen: true, address: '10.0.0.9:4051' })),
      Buffer.from(encodeFinding({ isOpen: false, address: '[2001:db8::1]:1', reason: 'connect ECONNREFUSED' })),
    ],
    words: ['"isOpen":', '"address":', '"reason":', 'true', 'false', ':0', '[::1]:1', '\\u001b[31m', 'null', '{', '}'],
    run: (bytes) => {
      const finding = taken(
        () => decodeFinding(bytes),
        (error) => error instanceof Error,
      )
      if (finding === undefined) return
      assert.ok(parsePlace(finding.address) !== undefined)
      // It is logged as it is.
      assert.match(finding.reason ?? '', /^[\x20-\x7e]*$/)
      assert.ok((finding.reason ?? '').length <= MAX_REASON_LENGTH)
      assert.deepEqual(decodeFinding(encodeFinding(finding)), finding)
    },
  },
  streamed(
    'find-request',
    decodeRequest,
    encodeRequest,
    [1, 2].map((id) => Buffer.from(encodeRequest({ id, key: key(id) }))),
  ),
  streamed(
    'find-answer',
    decodeAnswer,
    encodeAnswer,
    [[], peers].map((providers, id) => Buffer.from(encodeAnswer({ id, providers }))),
  ),
  streamed(
    'announce-request',
    decodeAnnouncement,
    encodeAnnouncement,
    (['place', 'withdraw'] as const).map((kind, id) =>
      Buffer.from(encodeAnnouncement({ id, kind, keys: [key(1), key(2)] })),
    ),
  ),
  streamed('announce-answer', decodeAnnounceAnswer, encodeAnnounceAnswer, [
    Buffer.from(encodeAnnounceAnswer({ id: 7, taken: 512 })),
  ]),
  {
    name: 'claims',
    corpus: [...claims.map((claim) => Buffer.from(frame(claim))), Buffer.concat(claims.map((claim) => frame(claim)))],
    words: ['wants', 'turns', 'kind', 'blob', 'members', digest],
    run: (bytes, random) => {
      const push = () => {
        const frames = new Frames(2 ** 18)
        return (part: Buffer) => frames.push(part)
      }
      const at = read(push(), [bytes])
      assert.deepEqual(read(push(), pieces(bytes, random)), at)
      for (const value of at.messages) {
        const claim = taken(
          () => parseClaim(value),
          (error) => error instanceof WireError,
        )
        if (claim === undefined) continue
        const again = claim.kind === 'wants' ? encodeWants(claim.wants) : encodeTurns(claim.turns)
        assert.deepEqual(parseClaim(again), claim)
        assert.ok(encode(again).length > 0)
      }
    },
  },
  {
    name: 'mdns',
    corpus: [
      Buffer.from(encodeQuery()),
      Buffer.from(
        encodeMdnsAnswer(
          'some-node',
          peers.map((peer, index) => `/ip4/10.0.0.${index + 1}/tcp/4050/p2p/${peer}`),
        ),
      ),
    ],
    words: ['dnsaddr=', '/p2p/', '/ip6/::1', '/tcp/', '_layerd', '\xc0\x0c', peers[0] ?? ''],
    run: (bytes) => {
      const message = taken(
        () => decodeMessage(bytes),
        (error) => error instanceof Error,
      )
      if (message?.kind !== 'answer') return
      for (const [peer, addresses] of message.peers) assert.ok(peer !== '' && addresses.length > 0)
    },
  },
]
