import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MAX_RANGE_STREAMS, RETRY_UPSTREAM_MS } from '../../../../daemon/fetch/download/constants.ts'
import type { Attempt } from '../../../../daemon/fetch/download/context.ts'
import { UpstreamReads } from '../../../../daemon/fetch/download/upstream-reads.ts'
import { Notifier } from '../../../../daemon/fetch/notifier.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { UpstreamError, type UpstreamErrorCode } from '../../../../proxy/upstream/types.ts'
import { setUpAssembly } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { requestOf } from '../../../fixtures/downloads.ts'
import { until } from '../../../fixtures/swarm.ts'

/** Four chunks, of which the last one has a quarter and a bit. */
const bytes = pseudoRandomBytes(13 * quarterBytes + 9, 'upstream reads')
const quarters = 14

interface Situation {
  readonly isHead?: boolean
  /** The registry gives no ranges. */
  readonly isWholeOnly?: boolean
  readonly saysSize?: boolean
  readonly sent?: Buffer
  readonly access?: 'private' | 'foreign'
  /** Before each quarter of a body. */
  readonly gate?: (quarter: number) => Promise<void> | undefined
}

async function setUp({ isHead = false, isWholeOnly = false, saysSize = true, sent = bytes, ...more }: Situation = {}) {
  const { assembly } = await setUpAssembly(bytes)
  const ended = new AbortController()
  /** Requests, by quarters: the first one, and the last. */
  const asked: [number, number | undefined][] = []
  const stopped: number[] = []
  const readable: boolean[] = []
  const raw: number[] = []
  const failures: unknown[] = []
  let fault: UpstreamErrorCode | undefined
  let isBegun = false
  let onHeld = (_quarter: number) => {}
  const open = async ({ offset, end, signal }: { offset: number; end?: number; signal: AbortSignal }) => {
    asked.push([offset / quarterBytes, end === undefined ? undefined : Math.floor(end / quarterBytes)])
    if (fault !== undefined) throw new UpstreamError(fault, 'no')
    const start = isWholeOnly ? 0 : offset
    const stop = isWholeOnly || end === undefined ? sent.length : end + 1
    const body = async function* () {
      for (let at = start; at < stop; at += quarterBytes) {
        await Promise.race([
          more.gate?.(at / quarterBytes),
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
        ])
        // Nothing is read ahead of what the plan says.
        const before = at / quarterBytes - 1
        while (at > start && !assembly.held.has(before) && !assembly.raw.has(before) && !signal.aborted) await delay(1)
        if (signal.aborted) stopped.push(at / quarterBytes)
        signal.throwIfAborted()
        yield sent.subarray(at, Math.min(at + quarterBytes, stop))
      }
    }
    return {
      start,
      size: saysSize ? sent.length : undefined,
      mediaType: undefined,
      access: more.access ?? 'public',
      body: body(),
    }
  }
  const attempt = {
    tools: {
      upstream: { open },
      access: { accepted: async (_: unknown, said: string) => said },
      onFetched: () => {},
      logger: { debug: () => {} },
    },
    request: requestOf(assembly.partial.digest),
    signal: ended.signal,
    changed: new Notifier(),
    get assembly() {
      return isBegun ? assembly : undefined
    },
    sharing: { raw: (chunk: number) => void raw.push(chunk) },
    begin: async () => {
      isBegun = true
      return assembly
    },
    held: (quarter: number) => onHeld(quarter),
    news: () => {},
    fail: (error: unknown) => void failures.push(error),
  }
  const reads = new UpstreamReads({
    attempt: attempt as unknown as Attempt,
    isHead: () => isHead,
    onReadable: (isReadable) => void readable.push(isReadable),
  })
  onTestFinished(() => ended.abort(new Error('the test is over')))
  const settled = () => until(() => !reads.isRunning)
  return {
    reads,
    assembly,
    asked,
    stopped,
    readable,
    raw,
    failures,
    settled,
    setFault: (code: UpstreamErrorCode | undefined) => {
      fault = code
    },
    /** What the plan does when a quarter is held. */
    plan: (then: (quarter: number) => void) => {
      onHeld = then
    },
    begin: () => {
      isBegun = true
    },
  }
}

describe('whoever reads for all', () => {
  it('makes one request, which goes on with each chunk that the plan wants next', async () => {
    const { reads, assembly, asked, settled, plan } = await setUp({ isHead: true })
    plan((quarter) => {
      if (quarter % 4 === 3) reads.read(quarter + 1)
    })
    reads.read(0)
    await settled()
    expect([asked, assembly.held.count]).toEqual([[[0, undefined]], quarters])
  })

  it('ends the request where the plan wants nothing more of it, and begins another one where it wants something else', async () => {
    const { reads, assembly, asked, stopped, settled, plan } = await setUp({ isHead: true })
    plan((quarter) => {
      if (quarter === 3) reads.read(8)
    })
    reads.read(0)
    await until(() => assembly.raw.has(11))
    await settled()
    expect(asked).toEqual([
      [0, undefined],
      [8, undefined],
    ])
    expect([...assembly.held.indexes(), ...assembly.raw.indexes()]).toEqual([0, 1, 2, 3, 8, 9, 10, 11])
    expect(stopped.length).toBeLessThanOrEqual(2)
  })

  it('asks for no more than up to what is held', async () => {
    const { reads, assembly, asked, settled, begin } = await setUp({ isHead: true })
    const body = async function* () {
      yield bytes.subarray(9 * quarterBytes, 10 * quarterBytes)
    }
    await assembly.take({ body: body(), first: 9, isUpstream: true, onBytes: () => {}, onQuarter: () => {} })
    begin()
    reads.read(0)
    await settled()
    expect(asked).toEqual([[0, 8]])
  })

  it('stops at once where the plan reads no further', async () => {
    const { reads, assembly, settled, plan, failures } = await setUp({ isHead: true })
    plan((quarter) => {
      if (quarter === 1) reads.unread()
    })
    reads.read(0)
    await settled()
    expect([[...assembly.held.indexes()], failures]).toEqual([[0, 1], []])
  })
})

describe('whoever has no turn, or races', () => {
  it('asks for exactly one chunk, from the quarter on that is missing', async () => {
    const { reads, assembly, asked, settled } = await setUp()
    reads.read(5)
    await settled()
    expect([asked, [...assembly.raw.indexes()]]).toEqual([[[5, 7]], [5, 6, 7]])
  })

  it('asks for the next one in a request of its own', async () => {
    const { reads, assembly, asked, settled, plan } = await setUp()
    plan((quarter) => {
      if (quarter % 4 === 3 && quarter < 11) reads.read(quarter + 1)
    })
    reads.read(0)
    await until(() => assembly.held.has(11))
    await settled()
    expect(asked).toEqual([
      [0, 3],
      [4, 7],
      [8, 11],
    ])
  })

  it('tells of chunks that can not be verified yet as such', async () => {
    const { reads, raw, settled } = await setUp()
    reads.read(4)
    await settled()
    expect(raw).toEqual([1])
  })

  it('asks for the last chunk to its end', async () => {
    const { reads, asked, settled, begin } = await setUp()
    begin()
    reads.read(12)
    await settled()
    expect(asked).toEqual([[12, undefined]])
  })
})

describe('a range', () => {
  it('is not asked for where it comes anyway', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { reads, asked, settled } = await setUp({ gate: () => gate })
    reads.read(4)
    reads.range(5, 6)
    expect(reads.isRunning).toBe(true)
    resolve()
    await settled()
    expect(asked).toEqual([[4, 7]])
  })

  it('is asked for beside what the plan reads, of so many clients at the same time', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { reads, assembly, asked, settled } = await setUp({ gate: () => gate, isHead: true })
    reads.read(0)
    for (let first = 4; first < 4 + 2 * MAX_RANGE_STREAMS; first += 1) reads.range(first, first)
    resolve()
    await settled()
    expect(asked.slice(1)).toEqual([4, 5, 6].map((quarter) => [quarter, quarter]))
    expect([...assembly.raw.indexes()]).toEqual([4, 5, 6])
  })

  it('goes on where the plan reads no further', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { reads, assembly, settled } = await setUp({ gate: () => gate })
    reads.read(0)
    reads.range(8, 9)
    reads.unread()
    resolve()
    await settled()
    expect([...assembly.raw.indexes(), ...assembly.held.indexes()]).toEqual([8, 9])
  })
})

describe('a registry without ranges', () => {
  it('is asked once for all that is wanted of it', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { reads, assembly, asked, settled, plan } = await setUp({
      isWholeOnly: true,
      gate: (quarter) => (quarter === 2 ? gate : undefined),
    })
    plan((quarter) => {
      if (quarter === 7) reads.read(8)
      if (quarter === 11) reads.read(12)
    })
    reads.read(4)
    await until(() => assembly.held.has(0))
    reads.range(9, 10)
    resolve()
    await settled()
    expect([asked.length, assembly.held.count]).toEqual([1, quarters])
  })

  it('is not asked again by a range that begins before where the first request is', async () => {
    const { promise: gate, resolve } = Promise.withResolvers<void>()
    const { reads, assembly, asked, settled } = await setUp({
      isWholeOnly: true,
      gate: (quarter) => (quarter === 2 ? gate : undefined),
    })
    reads.read(4)
    reads.range(9, 10)
    await until(() => assembly.held.has(1))
    expect(asked).toHaveLength(2)
    resolve()
    await settled()
    expect(assembly.held.has(7)).toBe(true)
    expect(asked).toHaveLength(2)
  })
})

describe('an upstream that does not say how long it is', () => {
  it('is read where somebody else has said it', async () => {
    const { reads, assembly, settled, begin } = await setUp({ saysSize: false, isHead: true })
    begin()
    reads.read(12)
    await settled()
    expect([...assembly.raw.indexes()]).toEqual([12, 13])
  })

  it.each([
    ['more', Buffer.concat([bytes, Buffer.alloc(5)])],
    ['less', bytes.subarray(0, -5)],
  ])('ends the attempt where it sends %s than that', async (_, sent) => {
    const { reads, failures, settled, begin } = await setUp({ saysSize: false, isHead: true, sent })
    begin()
    reads.read(12)
    await settled()
    expect(failures).toEqual([expect.objectContaining({ message: expect.stringContaining('bytes') })])
  })

  it('can not be read by chunks where nobody has', async () => {
    const { reads, failures, settled } = await setUp({ saysSize: false, isHead: true })
    reads.read(0)
    await settled()
    expect(failures).toEqual([expect.objectContaining({ name: 'NotByChunks' })])
  })
})

describe('an upstream that fails', () => {
  it('is asked again after a while, and the plan is told both', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { reads, readable, setFault } = await setUp({ isHead: true })
    setFault('unreachable')
    reads.read(0)
    await vi.advanceTimersByTimeAsync(100)
    expect([readable, reads.hasFailed, reads.isRefused]).toEqual([[false], true, false])
    await vi.advanceTimersByTimeAsync(RETRY_UPSTREAM_MS - 200)
    expect(readable).toEqual([false])
    await vi.advanceTimersByTimeAsync(200)
    expect([readable, reads.hasFailed]).toEqual([[false, true], false])
  })

  it.each([
    ['not-found', false],
    ['unauthorized', true],
    ['denied', true],
    ['refused', true],
  ] as const)('for good, as it says %s, is not asked again', async (code, isRefused) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { reads, readable, asked, setFault } = await setUp({ isHead: true })
    setFault(code)
    reads.read(0)
    await vi.advanceTimersByTimeAsync(10 * RETRY_UPSTREAM_MS)
    reads.range(3, 3)
    expect([readable, reads.hasFailed, reads.isRefused, asked.length]).toEqual([[false], true, isRefused, 1])
  })

  it('to give it to anybody but its own asker ends the attempt', async () => {
    const { reads, assembly, failures, settled } = await setUp({ access: 'foreign' })
    reads.read(0)
    await settled()
    expect(failures).toEqual([expect.objectContaining({ name: 'ForeignContent' })])
    expect(assembly.held.count).toBe(0)
  })
})
