import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Announcements } from '../../../../daemon/swarm/have/announcements.ts'
import type { Watcher } from '../../../../daemon/swarm/have/hub.ts'
import type { HaveAnswer } from '../../../../daemon/swarm/have/message.ts'
import type { HaveListener, PeerId } from '../../../../daemon/swarm/ports.ts'
import { Announcer } from '../../../../daemon/swarm/session/announcer.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { chunkBytes } from '../../../../daemon/verify/chunk.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

const chunks = 4
const digest = digestOf(Buffer.from('a'))

/** A conversation that keeps what is sent. */
class Kept {
  readonly sent: HaveAnswer[] = []
  /** Messages that are taken before it is clogged. */
  #room: number
  #drained: (() => void) | undefined

  constructor(room = Number.POSITIVE_INFINITY) {
    this.#room = room
  }

  get isClogged(): boolean {
    return this.#room <= 0
  }

  send(message: HaveAnswer): void {
    this.sent.push(message)
    this.#room--
  }

  whenDrained(callback: () => void): void {
    this.#drained = callback
  }

  drain(room: number): void {
    this.#room = room
    this.#drained?.()
  }

  /** What was sent under an id, by type. */
  of(id: number): string[] {
    return this.sent.filter((message) => message.id === id).map(({ type }) => type)
  }

  as(peer: PeerId, id: number): Watcher {
    return { peer, id, isBack: false, conversation: this as unknown as Watcher['conversation'] }
  }
}

/** A blob of which all is held, and what is heard of those who watch it. */
function scene() {
  const listeners = new Map<PeerId, HaveListener>()
  const closed = vi.fn()
  const watch = vi.fn(async () => ({
    facts: { size: chunks * chunkBytes, mediaType: undefined, access: 'public' as const, repositories: [] },
    held: Bitfield.full(chunks),
    peers: undefined,
    met: () => {},
    hasEnded: () => false,
    revision: () => 0,
    states: () => new Uint8Array(0),
    close: closed,
  }))
  const announcements = new Announcements({
    content: { watch },
    watchBack: (peer, _, listener) => listeners.set(peer, listener),
  })
  return { announcements, listeners, closed, watch }
}

describe('a peer that watches a blob', () => {
  it('again, as the only one, is told of it under the new id, and that the old one is over', async () => {
    const { announcements, closed } = scene()
    const peer = new Kept()
    announcements.add(digest, peer.as('a', 1))
    await vi.waitFor(() => expect(peer.of(1)).toContain('blob'))
    announcements.add(digest, peer.as('a', 2))
    await vi.waitFor(() => expect(peer.of(2)).toContain('got'))
    expect(peer.of(1).at(-1)).toBe('none')
    expect(closed).not.toHaveBeenCalled()
    announcements.stop()
  })

  it('on a new stream goes on when the old one ends', async () => {
    const { announcements, closed } = scene()
    const [old, fresh] = [new Kept(), new Kept()]
    announcements.add(digest, old.as('a', 1))
    announcements.add(digest, fresh.as('a', 1))
    announcements.remove(digest, old.as('a', 1))
    await vi.waitFor(() => expect(fresh.of(1)).toContain('got'))
    expect(closed).not.toHaveBeenCalled()
    announcements.remove(digest, fresh.as('a', 1))
    expect(closed).toHaveBeenCalledOnce()
  })

  it('and tells of a chunk again and again is heard once', async () => {
    const { announcements, listeners } = scene()
    const heard = vi.spyOn(Announcer.prototype, 'heard')
    onTestFinished(() => heard.mockRestore())
    announcements.add(digest, new Kept().as('a', 1))
    await vi.waitFor(() => expect(listeners.has('a')).toBe(true))
    const told = listeners.get('a')
    const facts = { size: chunks * chunkBytes, mediaType: undefined, access: 'public' as const, repositories: [] }
    told?.blob(facts, new Bitfield(chunks), new Uint8Array(0), false)
    for (let times = 0; times < 5; times++) told?.got([1, 1, 2], new Uint8Array(0))
    expect(heard.mock.calls).toEqual([
      ['a', 1],
      ['a', 2],
    ])
    announcements.stop()
  })

  it('and does not read is told nothing until it does, and all that it missed then', async () => {
    const { announcements } = scene()
    const [reader, other] = [new Kept(0), new Kept()]
    announcements.add(digest, reader.as('a', 1))
    announcements.add(digest, other.as('b', 1))
    await vi.waitFor(() => expect(other.of(1)).toContain('got'))
    announcements.remove(digest, other.as('b', 1))
    expect(reader.sent).toEqual([])
    reader.drain(1)
    await vi.waitFor(() => expect(reader.of(1)).toEqual(['blob']))
    reader.drain(1)
    await vi.waitFor(() => expect(reader.of(1)).toEqual(['blob', 'got']))
    const [blob, got] = reader.sent
    if (blob?.type !== 'blob' || got?.type !== 'got') throw new Error('other messages')
    expect(new Set([...Bitfield.decode(blob.held, chunks).indexes(), ...got.chunks])).toEqual(new Set([0, 1, 2, 3]))
    announcements.stop()
  })
})
