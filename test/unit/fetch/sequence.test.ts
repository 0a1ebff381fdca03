import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { Sequence, SourceConflict } from '../../../daemon/fetch/sequence.ts'
import type { BlobSource } from '../../../daemon/fetch/source.ts'
import { PeerError } from '../../../daemon/swarm/ports.ts'
import { UpstreamError } from '../../../proxy/upstream/types.ts'
import { collect, piecesOf, pseudoRandomBytes } from '../../fixtures/bytes.ts'

const bytes = pseudoRandomBytes(100_000)
const signal = new AbortController().signal

interface Behaviour {
  /** Fails after so many bytes of each transfer. */
  readonly diesAfter?: number
  readonly refuses?: Error
  readonly size?: number
}

function source(name: string, { diesAfter, refuses, size = bytes.length }: Behaviour = {}) {
  const offsets: number[] = []
  const made: BlobSource & { readonly offsets: readonly number[] } = {
    origin: name === 'upstream' ? 'upstream' : 'peer',
    name,
    offsets,
    open: async (offset) => {
      offsets.push(offset)
      if (refuses !== undefined) throw refuses
      async function* body() {
        yield* piecesOf(bytes.subarray(offset, diesAfter === undefined ? undefined : offset + diesAfter), 1000)
        if (diesAfter !== undefined) throw new Error(`${name} died`)
      }
      return { size, mediaType: undefined, public: true, body: body() }
    },
  }
  return made
}

function sessionOf(upstream: BlobSource, peers: readonly BlobSource[], lookup = 0, lookupTimeout = 50) {
  const failures: string[] = []
  const sequence = new Sequence({
    peers: async function* () {
      if (lookup > 0) await delay(lookup, undefined, { ref: false })
      yield* peers
    },
    upstream,
    lookupTimeout,
    maxBytes: 1_000_000,
    upstreamFirst: false,
    onOpen: () => {},
    onBytes: () => {},
    onFailure: ({ name }) => failures.push(name),
  })
  return { sequence, failures }
}

const offline = new UpstreamError('unreachable', 'no route')

/** An upstream whose body says no length. */
const withoutSize: BlobSource['open'] = async (offset) => ({
  size: undefined,
  mediaType: undefined,
  public: true,
  body: piecesOf(bytes.subarray(offset), 1000),
})

describe('a sequence', () => {
  it('takes the blob from the first peer, and leaves upstream alone', async () => {
    const upstream = source('upstream')
    const { sequence } = sessionOf(upstream, [source('a'), source('b')])
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect([...sequence.used].map(({ name }) => name)).toEqual(['a'])
    expect(upstream.offsets).toEqual([])
  })

  it('goes on with the next source where one stopped', async () => {
    const [a, b, upstream] = [
      source('a', { diesAfter: 30_000 }),
      source('b', { diesAfter: 20_500 }),
      source('upstream'),
    ]
    const { sequence, failures } = sessionOf(upstream, [a, b])
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect([a.offsets, b.offsets, upstream.offsets]).toEqual([[0], [30_000], [50_500]])
    expect(failures).toEqual(['a', 'b'])
  })

  it('asks upstream when no peer is found in time', async () => {
    const peer = source('late')
    // Far longer than the test may take.
    const { sequence } = sessionOf(source('upstream'), [peer], 600_000)
    await collect(sequence.read(0, signal))
    expect(peer.offsets).toEqual([])
  })

  it('waits for late peers when upstream can not be reached', async () => {
    const { sequence } = sessionOf(source('upstream', { refuses: offline }), [source('late')], 200)
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
  })

  it('asks busy peers again when nobody else has the blob', async () => {
    let refusals = 2
    const free = source('busy')
    const busy: BlobSource = {
      ...free,
      open: (offset, openSignal) => {
        if (refusals-- > 0) return Promise.reject(new PeerError('busy', 'busy', 'no upload is free'))
        return free.open(offset, openSignal)
      },
    }
    const { sequence, failures } = sessionOf(source('upstream', { refuses: offline }), [busy])
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect(failures).toEqual(['busy', 'upstream', 'busy'])
  })

  it('ends where sources contradict each other, and names them', async () => {
    const odd = source('odd', { size: bytes.length + 1 })
    const { sequence } = sessionOf(source('upstream'), [source('a', { diesAfter: 1000 }), odd])
    await expect(collect(sequence.read(0, signal))).rejects.toThrow(SourceConflict)
    expect([...sequence.opened].map(({ name }) => name)).toEqual(['a', 'odd'])
    const silent = sessionOf({ ...source('upstream'), open: withoutSize }, [source('a', { size: 1000, diesAfter: 0 })])
    await expect(collect(silent.sequence.read(0, signal))).rejects.toThrow(SourceConflict)
  })

  it('passes over a source that says more bytes than are expected', async () => {
    const { sequence, failures } = sessionOf(source('upstream'), [source('huge', { size: 1_000_001 })])
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect(failures).toEqual(['huge'])
  })

  it('remembers the peers that it found, however long the first one took', async () => {
    const slow = source('slow', { diesAfter: 50_000 })
    const open: BlobSource['open'] = async (offset, openSignal) => {
      await new Promise((resolve) => setTimeout(resolve, 5_500))
      return slow.open(offset, openSignal)
    }
    const spare = source('spare')
    const { sequence } = sessionOf(source('upstream', { refuses: offline }), [{ ...slow, open }, spare])
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect(spare.offsets).toEqual([50_000])
  })

  it('leaves an upstream that hangs as soon as a peer is found', async () => {
    let left = false
    const hanging: BlobSource = {
      ...source('upstream'),
      open: (_offset, openSignal) =>
        new Promise((_resolve, reject) => {
          openSignal.addEventListener('abort', () => {
            left = true
            reject(openSignal.reason)
          })
        }),
    }
    const { sequence } = sessionOf(hanging, [source('late')], 200)
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect(left).toBe(true)
  })

  it('leaves a peer that trickles, but not one whose reader is slow', async () => {
    const trickle: BlobSource = {
      ...source('trickle'),
      open: async () => {
        async function* body() {
          for (let at = 0; at < bytes.length; at++) {
            await new Promise((resolve) => setTimeout(resolve, 1500))
            yield bytes.subarray(at, at + 1)
          }
        }
        return { size: bytes.length, mediaType: undefined, public: true, body: body() }
      },
    }
    const left = sessionOf(source('upstream'), [trickle])
    expect(bytes.equals(await collect(left.sequence.read(0, signal)))).toBe(true)
    expect(left.failures).toEqual(['trickle'])
    const kept = sessionOf(source('upstream'), [source('a')])
    let read = 0
    for await (const chunk of kept.sequence.read(0, signal)) {
      if (read === 0) await new Promise((resolve) => setTimeout(resolve, 5500))
      read += chunk.length
    }
    expect([read, kept.failures]).toEqual([bytes.length, []])
  })

  it('asks upstream before the peers that are left when some have failed for long enough', async () => {
    const dead = (name: string): BlobSource => ({
      ...source(name),
      open: async () => {
        await new Promise((resolve) => setTimeout(resolve, 700))
        throw new PeerError('failed', name, 'it is gone')
      },
    })
    const upstream = source('upstream')
    const { sequence, failures } = sessionOf(upstream, ['a', 'b', 'c', 'd', 'e', 'f'].map(dead))
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    // Three of them, unless the machine is busy.
    expect([failures.length > 1, failures.length < 6]).toEqual([true, true])
    expect(upstream.offsets).toEqual([0])
  })

  it('looks for peers again as long as that brings it further', async () => {
    let lives = 3
    const shaky = source('shaky')
    const open: BlobSource['open'] = (offset, openSignal) =>
      --lives > 0 ? source('shaky', { diesAfter: 30_000 }).open(offset, openSignal) : shaky.open(offset, openSignal)
    const { sequence, failures } = sessionOf(source('upstream', { refuses: offline }), [{ ...shaky, open }])
    expect(bytes.equals(await collect(sequence.read(0, signal)))).toBe(true)
    expect(failures).toEqual(['shaky', 'upstream', 'shaky', 'upstream'])
  })

  it('gives upstream’s reason when nobody has the blob', async () => {
    const peer = source('a', { refuses: new PeerError('absent', 'a', 'gone') })
    const { sequence } = sessionOf(source('upstream', { refuses: offline }), [peer])
    await expect(collect(sequence.read(0, signal))).rejects.toBe(offline)
  })

  it('ends with its signal', async () => {
    const gone = new AbortController()
    const { sequence } = sessionOf(source('upstream'), [source('a')])
    const reading = sequence.read(0, gone.signal)
    await reading.next()
    gone.abort(new Error('enough'))
    await expect(collect(reading)).rejects.toThrow('enough')
  })
})
