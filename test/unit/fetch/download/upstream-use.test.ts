import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { DESPERATE_CHUNKS, DESPERATE_MS } from '../../../../daemon/fetch/download/constants.ts'
import type { Attempt } from '../../../../daemon/fetch/download/context.ts'
import { Patience } from '../../../../daemon/fetch/download/patience.ts'
import type { Reading } from '../../../../daemon/fetch/download/reader.ts'
import type { Swarming } from '../../../../daemon/fetch/download/swarming.ts'
import { UpstreamUse } from '../../../../daemon/fetch/download/upstream-use.ts'
import { Notifier } from '../../../../daemon/fetch/notifier.ts'
import { ClaimBook } from '../../../../daemon/swarm/claim/book.ts'
import { Bitfield } from '../../../../daemon/verify/bitfield.ts'
import { chunkBytes } from '../../../../daemon/verify/chunk.ts'

const chunks = 200
const digest = 'sha256:0'
/** What a chunk takes from upstream, in ms. */
const chunkMs = 20

/** A request to upstream. */
interface Asked {
  readonly by: string
  readonly first: number
  /** The last chunk; undefined for all up to the end. */
  readonly last: number | undefined
}

/** Nodes with one peer, which gives nothing, while another node has the claim and brings chunk after chunk. */
class Fleet {
  readonly asked: Asked[] = []
  /** Requests at the same time, at most. */
  mostAtOnce = 0
  #running = 0
  readonly #book = new ClaimBook()
  readonly #ended = new AbortController()
  readonly #timers: NodeJS.Timeout[] = []
  #brought = 0

  constructor() {
    const renew = () => this.#book.ask(digest, 'holder', { wish: 'claim', held: this.#brought++ }, performance.now())
    renew()
    this.#timers.push(setInterval(renew, 100))
  }

  /** Adds a node that has just lost its patience. */
  add(name: string, readings: ReadonlySet<Reading> = new Set()): Bitfield {
    const held = new Bitfield(chunks)
    const assembly = { held, raw: new Bitfield(chunks), chunks, proven: undefined, isListComplete: true }
    const attempt = {
      tools: {
        self: () => name,
        pace: { bytes: 0, chunkMs: () => 0 },
        swarm: {
          claim: async (key: string, question: Parameters<ClaimBook['ask']>[2]) =>
            this.#book.ask(key, name, question, performance.now()),
        },
        upstream: {
          open: async (options: { offset: number; end: number | undefined; signal: AbortSignal }) =>
            this.#open(name, options),
        },
        access: { accepted: async () => 'public' },
        onFetched: () => {},
      },
      request: { digest },
      signal: this.#ended.signal,
      changed: new Notifier(),
      assembly: {
        ...assembly,
        take: async ({ body, first, onChunk }: TakeOptions) => {
          let chunk = first
          for await (const _ of body) {
            held.set(chunk)
            onChunk(chunk++, 'held')
          }
        },
      },
      held: () => {},
    }
    const begun = { ...attempt, begin: async () => attempt.assembly } as unknown as Attempt
    const session = { peers: { size: 1 }, expects: () => false }
    const swarming = {
      session,
      size: 1,
      bytes: 0,
      isRefused: true,
      isStarved: true,
      meetSome: () => {},
      holder: undefined,
    }
    let passed = 0
    const patience = new Patience({ pace: attempt.tools.pace, random: () => 0, now: () => performance.now() + passed })
    const use = new UpstreamUse({ attempt: begun, swarming: swarming as unknown as Swarming, readings, patience })
    passed = DESPERATE_MS
    void use.run()
    const step = () => {
      use.look()
      use.fetch(false)
    }
    this.#timers.push(setInterval(step, 2))
    return held
  }

  end(): void {
    for (const timer of this.#timers) clearInterval(timer)
    this.#ended.abort(new Error('the test is over'))
  }

  #open(by: string, { offset, end, signal }: { offset: number; end: number | undefined; signal: AbortSignal }) {
    const last = end === undefined ? undefined : (end + 1) / chunkBytes - 1
    const asked: Asked = { by, first: offset / chunkBytes, last }
    this.asked.push(asked)
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#running)
    const ended = () => this.#running--
    const body = async function* () {
      try {
        for (let chunk = asked.first; chunk <= (last ?? chunks - 1); chunk++) {
          await delay(chunkMs, undefined, { signal })
          yield new Uint8Array(0)
        }
      } finally {
        ended()
      }
    }
    return { size: chunks * chunkBytes, mediaType: undefined, access: 'public', body: body() }
  }
}

interface TakeOptions {
  readonly body: AsyncIterable<Uint8Array>
  readonly first: number
  readonly onChunk: (chunk: number, fate: 'held') => void
}

it('makes one request a turn, of more chunks each time, and leaves the next one to another node', async () => {
  const fleet = new Fleet()
  for (const name of ['one', 'two']) fleet.add(name)
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThanOrEqual(6), 10_000)
  fleet.end()
  const asked = fleet.asked.slice(0, 6)
  const [first = '', second = ''] = asked.map(({ by }) => by)
  expect(asked.map(({ by }) => by)).toEqual([first, second, first, second, first, second])
  expect(second).not.toBe(first)
  const sizes = asked.map(({ first: from, last = chunks - 1 }) => last - from + 1)
  expect(sizes).toEqual([1, 1, 2, 2, 8, 8])
  expect(fleet.mostAtOnce).toBe(1)
}, 15_000)

it('asks for no more than a turn is for where a client reads a long range', async () => {
  const fleet = new Fleet()
  const reading = { start: 0, end: chunks * chunkBytes - 1, position: 50 * chunkBytes, isRange: true }
  fleet.add('one', new Set([reading]))
  await vi.waitFor(() => expect(fleet.asked.length).toBeGreaterThanOrEqual(4), 10_000)
  fleet.end()
  const sizes = fleet.asked.slice(0, 4).map(({ first, last = chunks - 1 }) => [first, last - first + 1])
  expect(sizes).toEqual([
    [50, 1],
    [51, 2],
    [53, 8],
    [61, DESPERATE_CHUNKS],
  ])
  expect(fleet.mostAtOnce).toBe(1)
}, 15_000)
