import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Download } from '../../../../daemon/fetch/download/download.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { UpstreamError } from '../../../../proxy/upstream/types.ts'
import { collect, pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { fakeNode, openStore, peerWith, requestOf, upstreamWith } from '../../../fixtures/downloads.ts'
import { checkpointsOf, until } from '../../../fixtures/swarm.ts'

const bytes = pseudoRandomBytes(9 * quarterBytes + 7, 'private')
const digest = digestOf(bytes)
const signal = new AbortController().signal
const states = await checkpointsOf(bytes)
/** One that knows the size and says that anybody may have the blob. */
const liar = peerWith(bytes, states, { held: [], known: 0 })
const isPublic = ({ public: isShared }: { readonly public: boolean }) => isShared

async function untilHeld(download: Download, quarters: number): Promise<void> {
  await until(() => (download.provisional?.heldBytes ?? 0) >= quarters * quarterBytes)
}

describe('a private blob', () => {
  it('that was left unfinished stays private, whatever a peer says', async () => {
    const store = await openStore()
    const stuck = await fakeNode({
      store,
      claim: { role: 'head' },
      upstream: async (request) => {
        const opened = await upstreamWith(bytes.subarray(0, 4 * quarterBytes), 'private')(request)
        const { body } = opened
        const endless = async function* () {
          yield* body
          await delay(60_000, undefined, { signal: request.signal })
        }
        return { ...opened, size: bytes.length, body: endless() } as never
      },
    })
    const first = stuck.download(digest, 'alice')
    const running = first.run()
    await untilHeld(first, 4)
    first.abort(new Error('nobody waits any more'))
    await running
    expect(store.partials.idle).toBe(1)
    const next = await fakeNode({
      store,
      peers: { liar },
      upstream: async () => {
        throw new UpstreamError('denied', 'no')
      },
    })
    const second = next.download(digest, 'mallory')
    const again = second.run()
    await expect(second.open(requestOf(digest, 'mallory'))).rejects.toThrow('this very asker')
    expect(second.facts).toMatchObject({ public: false, repositories: ['docker.io/app'] })
    expect(second.share(isPublic)).toBeUndefined()
    second.abort(new Error('over'))
    await again
  })

  it('that a peer called public is given no further once upstream has said so, but to who asked first', async () => {
    const { promise: isOpen, resolve } = Promise.withResolvers<void>()
    const { download, tools } = await fakeNode({
      peers: { liar },
      claim: { role: 'head' },
      isClosed: false,
      upstream: async (request) => {
        await isOpen
        return await upstreamWith(bytes, 'private')(request)
      },
    })
    // The peer's word on the size is not enough to let anybody wait for bytes.
    tools.sizes.passes(Buffer.from(JSON.stringify({ layers: [{ digest, size: bytes.length }] })))
    const fetch = download(digest, 'alice')
    const running = fetch.run()
    const [alice, mallory] = await Promise.all([
      fetch.open(requestOf(digest, 'alice')),
      fetch.open(requestOf(digest, 'mallory')),
    ])
    const shared = fetch.share(isPublic)
    const has = shared?.has(0, quarterBytes - 1, 20_000)
    resolve()
    const refused = expect(collect(mallory.read(0, undefined, signal))).rejects.toThrow('this very asker')
    expect(digestOf(await collect(alice.read(0, undefined, signal)))).toBe(digest)
    await refused
    expect(await has).toBe(false)
    expect(shared && (await collect(shared.read(0, 9, signal)).catch(() => 'refused'))).toBe('refused')
    await running
    await Promise.all([alice.close(), mallory.close(), shared?.close()])
  })

  it('is not spoken of to peers in an open swarm, once that is known, and refused to those who ask', async () => {
    const { download, scripted, store } = await fakeNode({
      peers: { liar },
      claim: { role: 'head' },
      isClosed: false,
      upstream: async (request) => {
        await until(() => (scripted.get('liar')?.of('intro').length ?? 0) >= 1)
        return await upstreamWith(bytes, 'private')(request)
      },
    })
    await download(digest).run()
    expect(store.has(digest)).toBe(true)
    const peer = scripted.get('liar')
    await until(() => (peer?.of('bye').length ?? 0) >= 1)
    const told = JSON.stringify(peer?.of('news'))
    expect([told.includes('[-1'), peer?.of('list')]).toEqual([false, []])
  })

  it.each([
    [true, 1],
    [false, 0],
  ])('of several peers is asked about once, in a closed swarm only (%s)', async (isClosed, expected) => {
    let questions = 0
    const peer = peerWith(bytes, states, { facts: { access: 'private', repositories: [] } })
    const { download, store } = await fakeNode({
      isClosed,
      peers: { a: peer, b: peer, c: peer },
      claim: { role: 'head' },
      upstream: async (request) => {
        await delay(300)
        return await upstreamWith(bytes)(request)
      },
      access: {
        check: async () => {
          questions++
          return undefined
        },
      },
    })
    await download(digest).run()
    expect([store.has(digest), questions]).toEqual([true, expected])
  })

  it('comes from peers where upstream confirms that the asker may have it, and not a byte otherwise', async () => {
    const peer = peerWith(bytes, states, { facts: { access: 'private', repositories: ['docker.io/app'] } })
    const fetch = async (granted: 'private' | undefined) => {
      const node = await fakeNode({
        peers: { peer },
        upstream: async () => {
          throw new UpstreamError('unreachable', 'it is down')
        },
        access: { check: async (_, isKnown) => (isKnown ? granted : undefined) },
      })
      const one = node.download(digest)
      await one.run()
      return { isHeld: node.store.has(digest), bytes: node.moved.in, facts: node.store.record(digest) }
    }
    const granted = await fetch('private')
    expect(granted).toMatchObject({ isHeld: true, facts: { public: false } })
    // On a busy machine a part comes twice.
    expect(granted.bytes).toBeGreaterThanOrEqual(bytes.length)
    expect(await fetch(undefined)).toMatchObject({ isHeld: false, bytes: 0 })
  })
})
