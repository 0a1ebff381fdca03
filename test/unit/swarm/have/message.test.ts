import { describe, expect, it } from 'vitest'
import { factsOf, parseAnswer, parseQuestion } from '../../../../daemon/swarm/have/message.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

const digest = digestOf(Buffer.from('a'))
const blob = {
  type: 'blob',
  id: 1,
  size: 3_000_000,
  public: true,
  repositories: [],
  isComplete: false,
  held: new Uint8Array([0b10100000]),
  states: new Uint8Array(64),
} as const

const states = new Uint8Array()

describe('what peers tell each other of a blob', () => {
  it('is read', () => {
    expect(parseQuestion({ type: 'watch', id: 1, digest })).toEqual({ type: 'watch', id: 1, digest })
    const answer = parseAnswer(blob)
    if (answer.type !== 'blob') throw new Error('another message')
    const { facts, held } = factsOf(answer)
    expect(facts).toEqual({ size: 3_000_000, mediaType: undefined, access: 'public', repositories: [] })
    expect([...held.indexes()]).toEqual([0, 2])
  })

  it('is read of nodes that do not tell how many requests they have under way', () => {
    const got = { type: 'got', id: 1, chunks: [1], states } as const
    expect(parseAnswer(got)).toEqual(got)
    expect(parseAnswer({ ...got, requests: 3 })).toEqual({ ...got, requests: 3 })
  })

  it.each([
    ['a digest that is none', () => parseQuestion({ type: 'watch', id: 1, digest: 'sha256:1' })],
    ['a question that is none', () => parseQuestion({ type: 'tell', id: 1 })],
    ['a size beyond what has checkpoints', () => parseAnswer({ ...blob, size: 2 ** 40 })],
    ['states that are no bytes', () => parseAnswer({ ...blob, states: 'x' })],
    ['more repositories than there may be', () => parseAnswer({ ...blob, repositories: Array(9).fill('a/b') })],
    ['chunks that are no numbers', () => parseAnswer({ type: 'got', id: 1, chunks: [-1], states: new Uint8Array() })],
    ['more chunks than a blob has', () => parseAnswer({ type: 'got', id: 1, chunks: Array(65_537).fill(0), states })],
    ['fewer requests than none', () => parseAnswer({ type: 'got', id: 1, chunks: [], states, requests: -1 })],
    ['a chunk that no blob has', () => parseAnswer({ type: 'got', id: 1, chunks: [65_536], states })],
    ['a bitfield of another length', () => factsOf({ ...blob, repositories: [], held: new Uint8Array(2) })],
  ])('with %s is refused', (_, read) => {
    expect(read).toThrow()
  })
})
