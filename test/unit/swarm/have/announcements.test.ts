import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Frames, frame } from '../../../../daemon/swarm/conversation.ts'
import { Announcements } from '../../../../daemon/swarm/have/announcements.ts'
import { MAX_HAVE_BYTES, MAX_HUBS, MAX_WATCHED } from '../../../../daemon/swarm/have/constants.ts'
import type { Watcher } from '../../../../daemon/swarm/have/hub.ts'
import { type HaveAnswer, type HaveQuestion, parseAnswer } from '../../../../daemon/swarm/have/message.ts'
import { haveServer } from '../../../../daemon/swarm/have/server.ts'
import type { HaveListener, PeerId } from '../../../../daemon/swarm/ports.ts'
import { Announcer } from '../../../../daemon/swarm/session/announcer.ts'
import { ASK_MS, MIN_UPLOADS } from '../../../../daemon/swarm/session/constants.ts'
import { PeerTable } from '../../../../daemon/swarm/session/peer-table.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'

const digest = digestOf(Buffer.from('a'))

/** A conversation that keeps what is sent. */
class Kept {
  readonly sent: HaveAnswer[] = []
  onGot: (chunk: number) => void = () => {}
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
    if (message.type === 'got') for (const chunk of message.chunks) this.onGot(chunk)
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

/** A stream of a peer that asks, as the server sees it. */
class AskingStream extends EventTarget {
  readonly writeStatus = 'writable'
  readonly writableNeedsDrain = false
  status = 'open'
  readonly #answers: HaveAnswer[] = []
  readonly #frames = new Frames(MAX_HAVE_BYTES)

  ask(question: HaveQuestion): void {
    this.dispatchEvent(Object.assign(new Event('message'), { data: { subarray: () => frame(question) } }))
  }

  send(bytes: Uint8Array): boolean {
    for (const value of this.#frames.push(bytes)) this.#answers.push(parseAnswer(value))
    return true
  }

  abort(): void {
    this.status = 'aborted'
  }

  got(wanted: HaveAnswer['type'], under: number): boolean {
    return this.#answers.some(({ type, id }) => type === wanted && id === under)
  }
}

/** Blobs of which all is held, and what is heard of those who watch it; or that are being fetched from some peers. */
function scene(chunks = 4, peers?: PeerTable) {
  const listeners = new Map<PeerId, HaveListener>()
  const closed = vi.fn()
  const watch = vi.fn(async () => ({
    facts: { size: chunks * chunkBytes, mediaType: undefined, access: 'public' as const, repositories: [] },
    held: Bitfield.full(chunks),
    peers,
    met: () => {},
    hasEnded: () => false,
    revision: () => 0,
    states: () => new Uint8Array(0),
    close: closed,
  }))
  const announcements = new Announcements({
    content: { watch },
    requests: () => 0,
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
    const chunks = 4
    const { announcements, listeners } = scene(chunks)
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
    const chunks = 4
    const { announcements } = scene(chunks)
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

describe('two blobs that are watched', () => {
  const other = digestOf(Buffer.from('b'))
  const told = (kept: Kept) => kept.sent.flatMap((message) => (message.type === 'got' ? message.chunks : []))

  it('are both offered, though one has a watcher that asks for nothing, and the other one an upload that takes long', async () => {
    const { announcements } = scene(4000)
    const [silent, slow, peer] = [new Kept(), new Kept(), new Kept()]
    announcements.add(digest, silent.as('silent', 1))
    await vi.waitFor(() => expect(told(silent).length).toBeGreaterThan(0))
    announcements.upload('slow', other, 0, chunkBytes - 1)
    announcements.add(other, slow.as('slow', 1))
    announcements.add(other, peer.as('a', 1))
    await vi.waitFor(() => expect(told(peer).length).toBeGreaterThan(2))
    announcements.stop()
  })

  it('have each one chunk on its way where uploads of the other one take all room, and not more', async () => {
    const { announcements } = scene(40)
    const first = new Kept()
    announcements.add(digest, first.as('first', 1))
    await vi.waitFor(() => expect(first.of(1)).toContain('blob'))
    for (let peer = 0; peer < 2 * MIN_UPLOADS; peer++) announcements.upload(String(peer), digest, 0, chunkBytes - 1)
    const overs: ReturnType<Announcements['upload']>[] = []
    for (const id of ['a', 'b']) {
      const peer = new Kept()
      peer.onGot = (chunk) =>
        overs.push(announcements.upload(id, other, chunk * chunkBytes, (chunk + 1) * chunkBytes - 1))
      announcements.add(other, peer.as(id, 1))
    }
    await vi.waitFor(() => expect(overs).toHaveLength(1))
    await delay(2 * ASK_MS)
    expect(overs).toHaveLength(1)
    overs[0]?.(false)
    await vi.waitFor(() => expect(overs).toHaveLength(2))
    announcements.stop()
  })
})

describe('a peer that is not heard, as too many others are', () => {
  it('takes no room from others when all was written, as it never tells that it has got it', async () => {
    const chunks = 4000
    const held = Bitfield.full(chunks)
    const peers = new PeerTable(held)
    const { announcements } = scene(chunks, peers)
    const sendTo = (peer: PeerId) => announcements.upload(peer, digest, 0, chunkBytes - 1)(true)
    const unheard = new Kept()
    let offered = 0
    unheard.onGot = (chunk) => {
      offered++
      announcements.upload('unheard', digest, chunk * chunkBytes, (chunk + 1) * chunkBytes - 1)(true)
    }
    announcements.add(digest, unheard.as('unheard', 1))
    await vi.waitFor(() => expect(unheard.of(1)).toContain('blob'))
    for (let peer = 0; peer < 100; peer++) sendTo(String(peer))
    await vi.waitFor(() => expect(offered).toBeGreaterThan(100))
    // Who is heard has time to tell: what was written may be on its way.
    for (let peer = 0; peer < 100; peer++) peers.join(String(peer), new Bitfield(chunks))
    for (let peer = 0; peer < 100; peer++) sendTo(String(peer))
    await delay(2 * ASK_MS)
    const before = offered
    await delay(4 * ASK_MS)
    expect(offered).toBe(before)
    announcements.stop()
  })
})

describe('more blobs than may be watched', () => {
  const digests = (count: number, what: string) =>
    Array.from({ length: count }, (_, index) => digestOf(Buffer.from(`${what} ${index}`)))

  it('of all peers together are not there for a peer, which keeps the others', () => {
    const { announcements } = scene()
    const peer = new Kept().as('a', 1)
    const [first, ...others] = digests(MAX_HUBS + 1, 'blob')
    expect(first && announcements.add(first, peer)).toBe(true)
    expect(others.map((one) => announcements.add(one, peer)).indexOf(false)).toBe(MAX_HUBS - 1)
    expect(first && announcements.add(first, new Kept().as('b', 1))).toBe(true)
    announcements.stop()
  })

  it('of one peer are told to be not there, whichever of its streams it asks on', async () => {
    const { announcements } = scene()
    const serve = haveServer(announcements)
    const open = (peer: string) => {
      const asking = new AskingStream()
      void serve(asking as unknown as Stream, { remotePeer: { toString: () => peer } } as unknown as Connection)
      return asking
    }
    const [one, two, other] = [open('a'), open('a'), open('b')]
    for (const [id, one_] of digests(MAX_WATCHED, 'blob').entries()) {
      one.ask({ type: 'watch', id, digest: one_ })
    }
    await vi.waitFor(() => expect(one.got('blob', MAX_WATCHED - 1)).toBe(true))
    two.ask({ type: 'watch', id: 1, digest })
    other.ask({ type: 'watch', id: 1, digest })
    await vi.waitFor(() => expect([two.got('none', 1), other.got('blob', 1)]).toEqual([true, true]))
    one.ask({ type: 'leave', id: 0 })
    await vi.waitFor(() => {
      two.ask({ type: 'watch', id: 2, digest })
      expect(two.got('blob', 2)).toBe(true)
    })
    expect([one.status, two.status]).toEqual(['open', 'open'])
    announcements.stop()
  })
})
