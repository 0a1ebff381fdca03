import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished, vi } from 'vitest'
import { ALONE_MS, DESPERATE_MS, OTHERS_TURN_MS } from '../../../../daemon/fetch/download/constants.ts'
import type { Attempt } from '../../../../daemon/fetch/download/context.ts'
import { Patience } from '../../../../daemon/fetch/download/patience.ts'
import { Rescue } from '../../../../daemon/fetch/download/rescue.ts'
import { Notifier } from '../../../../daemon/fetch/notifier.ts'
import { type ClaimAnswer, ClaimBook } from '../../../../daemon/swarm/claim/book.ts'

const pace = { bytes: 0, chunkMs: () => 0 }
const none: ClaimAnswer = { role: 'none', holder: undefined, members: [] }

/** A node to which nobody gives anything, with the given coordinator for turns. */
function nodeWith(claim: Attempt['tools']['swarm']['claim']) {
  let at = 0
  const ended = new AbortController()
  const attempt = {
    tools: { swarm: { claim } },
    request: { digest: 'sha256:0' },
    signal: ended.signal,
    changed: new Notifier(),
  } as unknown as Attempt
  const patience = new Patience({ pace, random: () => 0, now: () => at })
  const upstream = { isUseful: true, isFetching: false, ends: 0, peers: 1 }
  const rescue = new Rescue({
    attempt,
    peers: () => upstream.peers,
    isUseful: () => upstream.isUseful,
    isFetching: () => upstream.isFetching,
    onEnd: () => upstream.ends++,
    patience,
  })
  const pass = (ms: number) => {
    at += ms
    rescue.look({ bytes: 0, peers: 1, upstreamMs: 0 })
  }
  return { rescue, patience, pass, upstream, end: () => ended.abort(new Error('the test is over')) }
}

/** Nodes with one coordinator, and the keys that it was asked for. */
function fleet(names: readonly string[]) {
  const book = new ClaimBook()
  const asked = new Set<string>()
  const nodes = names.map((name) =>
    nodeWith(async (key, question) => {
      asked.add(key)
      return book.ask(key, name, question, performance.now())
    }),
  )
  const granted = () => names.filter((_, at) => nodes[at]?.rescue.isGranted)
  const nodeOf = (name: string) => nodes[names.indexOf(name)]
  return { nodes, granted, nodeOf, asked, end: () => nodes.forEach((node) => void node.end()) }
}

it("is one node's turn after the other's: until its request is through, peers go on, or the fetch ends", async () => {
  const { nodes, granted, nodeOf, asked, end } = fleet(['one', 'two', 'three'])
  for (const { pass } of nodes) pass(DESPERATE_MS)
  await delay(5)
  expect([granted(), asked.size]).toEqual([[], 0])
  for (const { pass } of nodes) pass(1)
  await vi.waitFor(() => expect(granted()).toEqual(['one']))
  const [first] = nodes
  if (first === undefined) throw new Error('there are nodes')
  first.upstream.isFetching = true
  first.rescue.used()
  await delay(700)
  // Nobody else's, and no second request.
  expect([granted(), first.upstream.ends]).toEqual([[], 0])
  first.upstream.isFetching = false
  const next = await vi.waitFor(() => {
    const [name] = granted().filter((one) => one !== 'one')
    if (name === undefined) throw new Error('not yet')
    return name
  }, 2_000)
  expect([granted(), first.upstream.ends]).toEqual([[next], 1])
  nodeOf(next)?.patience.held(0, true)
  nodeOf(next)?.pass(1)
  const third = await vi.waitFor(() => {
    const [name] = granted()
    if (name === undefined) throw new Error('not yet')
    return name
  }, 2_000)
  expect(third).not.toBe(next)
  nodeOf(third)?.end()
  await vi.waitFor(() => expect(granted().filter((one) => one !== third)).toHaveLength(1), 2_000)
  expect([...asked]).toEqual(['sha256:0 rescue'])
  end()
})

it('is left to others by a node that has no use for it', async () => {
  const { nodes, granted, end } = fleet(['one', 'two'])
  const [one, two] = nodes
  if (one === undefined || two === undefined) throw new Error('there are nodes')
  one.upstream.isUseful = false
  one.pass(DESPERATE_MS + 1)
  await delay(5)
  two.pass(DESPERATE_MS + 1)
  await vi.waitFor(() => expect(granted()).toEqual(['two']))
  // As upstream says no before anything is on its way.
  two.upstream.isUseful = false
  one.upstream.isUseful = true
  await vi.waitFor(() => expect(granted()).toEqual(['one']), 2_000)
  end()
})

it('is taken where no coordinator answers', async () => {
  const { rescue, pass, end } = nodeWith(async () => undefined)
  pass(DESPERATE_MS + 1)
  await vi.waitFor(() => expect(rescue.isGranted).toBe(true))
  end()
})

it('is not waited for without a peer that says what it holds, and else not for ever', async () => {
  const { rescue, pass, upstream, end } = nodeWith(async () => none)
  const isGranted = (peers: number) => {
    upstream.peers = peers
    return rescue.isGranted
  }
  pass(DESPERATE_MS)
  expect(isGranted(0)).toBe(false)
  pass(1)
  expect([isGranted(0), isGranted(1)]).toEqual([true, false])
  pass(ALONE_MS - DESPERATE_MS - 1)
  await delay(5)
  expect(isGranted(1)).toBe(false)
  pass(1)
  expect(isGranted(1)).toBe(true)
  end()
})

it('is not waited for behind one node that says for ever that it is its turn', async () => {
  const now = vi.spyOn(performance, 'now')
  onTestFinished(() => now.mockRestore())
  const { rescue, pass, end } = nodeWith(async () => ({ ...none, holder: 'another' }))
  pass(DESPERATE_MS + 1)
  await delay(400)
  expect(rescue.isGranted).toBe(false)
  const real = performance.timeOrigin
  now.mockImplementation(() => Date.now() - real + OTHERS_TURN_MS + 1)
  await vi.waitFor(() => expect(rescue.isGranted).toBe(true), 2_000)
  end()
})

it('is over at once when peers go on', async () => {
  const { rescue, patience, pass, upstream, end } = nodeWith(async () => undefined)
  pass(DESPERATE_MS + 1)
  await vi.waitFor(() => expect(rescue.isGranted).toBe(true))
  patience.held(0, true)
  pass(1)
  expect([rescue.isGranted, upstream.ends]).toEqual([false, 1])
  end()
})
