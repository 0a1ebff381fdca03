import { describe, expect, test } from 'vitest'
import type { SharedEntry } from '../../../daemon/share/entry.ts'
import { Outbox } from '../../../daemon/share/outbox.ts'
import { Partner } from '../../../daemon/share/partner.ts'
import { decodeMessages } from '../../../daemon/share/wire/messages.ts'
import { MAX_MESSAGE_BYTES } from '../../../daemon/swarm/link/constants.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'

/** A blob all of whose checkpoints are known. */
function entryOf(name: string, states: number): SharedEntry {
  const list = { known: states, isComplete: true, encode: (from: number) => Buffer.alloc((states - from) * 32) }
  const facts = { size: (states + 1) * 2 ** 18, mediaType: undefined, access: 'public', repositories: [] }
  const blob = { facts, list }
  return { digest: digestOf(Buffer.from(name)), size: facts.size, peers: new Set(), blob } as unknown as SharedEntry
}

describe('what goes to a peer', () => {
  test.each([
    ['one large blob', [100_000]],
    ['several blobs', [20_000, 20_000, 5, 29_999, 30_000, 3_000]],
  ])('fits into the frames of a link with the checkpoints of %s', (_, lengths) => {
    const frames: Uint8Array[] = []
    const outbox = new Outbox((_peer, frame) => void frames.push(frame))
    const entries = new Map(
      lengths.map((length, index) => entryOf(`${index}`, length)).map((entry) => [entry.digest, entry]),
    )
    const blobs = [...entries.keys()].map((blob) => ({ blob, log: [0, ~1] }))
    outbox.send(new Partner('a'), { kind: 'news', news: { free: 1, blobs } }, (blob) => entries.get(blob as Digest))
    expect(Math.max(...frames.map((frame) => frame.length))).toBeLessThanOrEqual(MAX_MESSAGE_BYTES)
    const read = frames.flatMap((frame) => [...decodeMessages(frame, (number) => [...entries.keys()][number - 1])])
    const states = read.map((message) => (message.kind === 'list' ? message.states.length / 32 : 0))
    expect(states.reduce((sum, count) => sum + count)).toBe(lengths.reduce((sum, count) => sum + count))
    expect(read.at(-1)).toEqual({ kind: 'plan', message: { kind: 'news', news: { free: 1, blobs } } })
  })
})
