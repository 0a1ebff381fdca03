import assert from 'node:assert/strict'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { isSignedBy, ListSigner } from '../../../daemon/share/signed-list.ts'
import { decodeMessages, encodeFrames } from '../../../daemon/share/wire/messages.ts'
import { WireError } from '../../../daemon/share/wire/reader.ts'
import type { WireMessage } from '../../../daemon/share/wire/wire-message.ts'
import { Buffers } from '../../../daemon/swarm/link/buffers.ts'
import { MAX_PART_BYTES } from '../../../daemon/swarm/link/constants.ts'
import { FrameReader, FrameWriter } from '../../../daemon/swarm/link/frames.ts'
import { PartReceiver } from '../../../daemon/swarm/link/part-receiver.ts'
import { SLICE_HEAD_BYTES, writeSliceHead } from '../../../daemon/swarm/link/slice.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { Numbering, Samples } from '../../unit/share/wire/samples.ts'
import { pieces, type Target, taken } from '../target.ts'

const blobs = 20
const numbering = new Numbering(blobs)

/** What a link's reader gives, and how it ends. */
function readFrames(parts: readonly Buffer[]): string[] {
  const heard: string[] = []
  const reader = new FrameReader(
    (message) => heard.push(message.toString('base64')),
    () => heard.push('parts wait'),
  )
  try {
    for (const part of parts) reader.push(part)
  } catch (error) {
    heard.push(String(error))
  }
  return heard
}

const frames = (() => {
  const writer = new FrameWriter()
  writer.push(Buffer.from('some message'))
  writer.pushPartsWait()
  writer.push(Buffer.alloc(0))
  writer.push(Buffer.alloc(100, 7))
  return writer.take()
})()

function slice(id: number, quarter: number, total: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(SLICE_HEAD_BYTES + length, id)
  writeSliceHead(bytes, { id, quarter, total, offset, length })
  return bytes
}

const buffers = new Buffers(MAX_PART_BYTES, 4)

/** Parts that come over a connection, and how it ends. */
async function readParts(parts: readonly Buffer[]): Promise<string[]> {
  const heard: string[] = []
  let resumed = Promise.withResolvers<void>()
  let isPaused = false
  let isFailed = false
  const receiver = new PartReceiver({
    buffers,
    deliver: async ({ id, quarter }, bytes) => {
      heard.push(`${id} ${quarter} ${bytes.toString('base64')}`)
    },
    moved: () => {},
    pause: () => {
      isPaused = true
      resumed = Promise.withResolvers()
    },
    resume: () => {
      isPaused = false
      resumed.resolve()
    },
    fail: (error) => {
      isFailed = true
      heard.push(String(error))
      resumed.resolve()
    },
  })
  try {
    for (const part of parts) {
      if (isFailed) break
      receiver.push(part)
      if (isPaused) await resumed.promise
    }
  } catch (error) {
    heard.push(String(error))
  }
  receiver.close()
  return heard
}

const signerKey = await generateKeyPair('Ed25519')
const signer = new ListSigner(signerKey, peerIdFromPrivateKey(signerKey).toString())
const prefix = { digest: digestOf(Buffer.from('a blob')), size: 5_000_000, known: 2, hash: Buffer.alloc(32, 1) }
const signature = Buffer.from(signer.sign(prefix))

export const linkTargets: readonly Target[] = [
  {
    name: 'link-frames',
    corpus: [frames],
    run: (bytes, random) => assert.deepEqual(readFrames(pieces(bytes, random)), readFrames([bytes])),
  },
  {
    name: 'link-messages',
    corpus: Array.from({ length: 50 }, (_, seed) => {
      const samples = new Samples(seed, numbering, blobs)
      return Buffer.from(encodeFrames([samples.message(), samples.message()], numbering.numberOf)[0] ?? [])
    }),
    run: (bytes) => {
      const messages: WireMessage[] = []
      taken(
        () => {
          for (const message of decodeMessages(bytes, numbering.blobOf)) messages.push(message)
        },
        (error) => error instanceof WireError,
      )
      if (messages.length === 0 || messages.some(isForUnknown)) return
      const again = encodeFrames(messages, numbering.numberOf).flatMap((one) => [
        ...decodeMessages(one, numbering.blobOf),
      ])
      assert.deepEqual(again, messages)
    },
  },
  {
    name: 'link-parts',
    corpus: [
      slice(1, 0, 40, 0, 40),
      Buffer.concat([slice(2, 1, 60, 0, 40), slice(2, 1, 60, 40, 20)]),
      Buffer.concat([slice(3, 3, 60, 0, 30), slice(4, 0, 10, 0, 10), slice(5, 0, 10, 0, 10), slice(6, 0, 9, 0, 9)]),
    ],
    run: async (bytes, random) => {
      const once = await readParts([bytes])
      assert.deepEqual(await readParts(pieces(bytes, random)), once)
    },
  },
  {
    name: 'signed-list',
    corpus: [signature],
    run: (bytes, random) => {
      const isRight = bytes.equals(signature)
      assert.equal(isSignedBy(signer.self, prefix, bytes), isRight)
      const peer = random() < 0.5 ? bytes.toString('latin1') : `12D3KooW${bytes.toString('hex').slice(0, 44)}`
      assert.equal(isSignedBy(peer, { ...prefix, size: random() * 2 ** 60 }, signature), false)
    },
  },
]

/** Those can't be written again: their blob has no number. */
function isForUnknown(message: WireMessage): boolean {
  if (message.kind !== 'plan') return numbering.blobOf(message.number) === undefined
  const { message: plan } = message
  return plan.kind === 'head' && plan.blob === ''
}
