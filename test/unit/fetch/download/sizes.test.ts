import { describe, expect, it } from 'vitest'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { UpstreamError } from '../../../../proxy/upstream/types.ts'
import { collect, pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, type OpenUpstream, peerWith, requestOf, upstreamWith } from '../../../fixtures/downloads.ts'
import type { Script } from '../../../fixtures/scripted-peer.ts'
import { checkpointsOf, until } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(9 * quarterBytes + 7, 'sizes')
const digest = digestOf(bytes)
const states = await checkpointsOf(bytes)
const longer = Buffer.concat([bytes, pseudoRandomBytes(3 * quarterBytes, 'more')])
const shorter = bytes.subarray(0, 6 * quarterBytes)
const honest = peerWith(bytes, states)
const down: OpenUpstream = async () => {
  throw new UpstreamError('unreachable', 'it is down')
}
const withoutSize: OpenUpstream = async (request) => ({ ...(await upstreamWith(bytes)(request)), size: undefined })

/** @param isLate whether upstream answers when a peer has said what it knows */
async function fetchWith(peers: Record<string, Script>, upstream: OpenUpstream, isLate = false) {
  let asked = 0
  const node = await fakeNode({
    peers,
    claim: { role: 'head' },
    upstream: async (request) => {
      if (isLate && asked++ === 0) await until(() => download.facts !== undefined)
      return await upstream(request)
    },
  })
  const download = node.download(digest)
  const opening = download.open(requestOf(digest)).catch((error: Error) => error)
  await download.run()
  const content = await opening
  if (!(content instanceof Error)) await content.close()
  return { ...node, isHeld: node.store.has(digest), content }
}

describe.each([
  ['longer', longer],
  ['shorter', shorter],
])('a peer that says that a blob is %s than it is', (_, wrong) => {
  it('is found out by upstream, and banned where it says that it has all', async () => {
    const liar = peerWith(wrong, await checkpointsOf(wrong))
    const { isHeld, banned } = await fetchWith({ liar }, upstreamWith(bytes), true)
    expect([isHeld, banned]).toEqual([true, ['liar']])
  })

  it('is left alone, and not banned, where it may have been told so', async () => {
    const liar = peerWith(wrong, await checkpointsOf(wrong), { held: [0] })
    const { isHeld, banned } = await fetchWith({ liar }, upstreamWith(bytes), true)
    expect([isHeld, banned]).toEqual([true, []])
  })

  it('is found out by an honest one, without upstream', async () => {
    const liar = peerWith(wrong, await checkpointsOf(wrong))
    const { isHeld } = await fetchWith({ liar, honest }, down)
    expect(isHeld).toBe(true)
  })

  it('is found out by what an upstream sends that does not say how much that is', async () => {
    const liar = peerWith(wrong, new Uint8Array(0), { held: [] })
    const { isHeld, store } = await fetchWith({ liar }, withoutSize, true)
    // Nobody else says the size, and nothing of a wrong one is left for the next fetch.
    expect([isHeld, store.partials.idle]).toEqual([false, 0])
  })
})

describe('an upstream that does not say how long a blob is', () => {
  it('is read by chunks where a peer says it', async () => {
    const said = peerWith(bytes, states, { held: [0] })
    const { isHeld, fetched } = await fetchWith({ said }, async (request) => withoutSize(request), true)
    expect(isHeld).toBe(true)
    expect(fetched.upstream).toBeGreaterThanOrEqual(bytes.length - 4 * quarterBytes)
  })

  it('and nobody else does: it can not be fetched by chunks', async () => {
    const { isHeld, content } = await fetchWith({}, withoutSize)
    expect([isHeld, content]).toMatchObject([false, { name: 'NotByChunks' }])
  })
})

describe('an upstream without ranges', () => {
  it('gives each byte once, whatever clients read', async () => {
    let asked = 0
    const node = await fakeNode({
      claim: { role: 'head' },
      upstream: async (request) => {
        asked++
        return await upstreamWith(bytes)({ ...request, offset: 0, end: undefined } as never)
      },
    })
    const download = node.download(digest)
    const running = download.run()
    const content = await download.open(requestOf(digest))
    const start = 8 * quarterBytes
    const range = await collect(content.read(start, start + 9, new AbortController().signal))
    expect(range.equals(bytes.subarray(start, start + 10))).toBe(true)
    await content.close()
    await running
    expect(node.store.has(digest)).toBe(true)
    // That it gives no ranges is known when it was asked for one.
    expect(asked).toBeLessThanOrEqual(2)
    expect(node.fetched.upstream).toBe(bytes.length)
  })
})

describe('an upstream that fails for a moment', () => {
  it('is asked again while peers still bring something, and gives the rest', async () => {
    let asked = 0
    const slowly = async function* (start: number, end: number) {
      await new Promise((resolve) => setTimeout(resolve, 450))
      yield bytes.subarray(start, end + 1)
    }
    // It brings two chunks of three, in some seconds.
    const slow = peerWith(bytes, states, { held: [0, 1], give: slowly })
    const mute = { ...honest, ready: new Promise<void>(() => {}) }
    const { isHeld, fetched } = await fetchWith({ slow, mute }, async (request) => {
      if (asked++ === 0) throw new UpstreamError('unreachable', 'it is down')
      return await upstreamWith(bytes)(request)
    })
    expect([isHeld, asked]).toEqual([true, 2])
    expect(fetched.upstream).toBeLessThan(bytes.length)
  })
})
