import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { ALONE_MS, DESPERATE_MS } from '../../../../daemon/fetch/download/constants.ts'
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
  const rescue = new Rescue({ attempt, held: () => 0, patience })
  const pass = (ms: number) => {
    at += ms
    rescue.look({ bytes: 0, peers: 1, upstreamMs: 0 })
  }
  return { rescue, patience, pass, end: () => ended.abort(new Error('the test is over')) }
}

it('is given to one node after the other, and passed on when peers go on or a fetch ends', async () => {
  const book = new ClaimBook()
  const asked = new Set<string>()
  const nodes = ['one', 'two', 'three'].map((name) =>
    nodeWith(async (key, question) => {
      asked.add(key)
      return book.ask(key, name, question, performance.now())
    }),
  )
  const granted = () => nodes.map(({ rescue }) => rescue.isGranted)
  for (const { pass } of nodes) pass(DESPERATE_MS)
  await delay(5)
  expect([granted(), asked.size]).toEqual([[false, false, false], 0])
  for (const { pass } of nodes) pass(1)
  await vi.waitFor(() => expect(granted()).toEqual([true, false, false]))
  nodes[0]?.patience.held(0, true)
  nodes[0]?.pass(1)
  await vi.waitFor(() => expect(granted().filter((one) => one)).toHaveLength(1), 2_000)
  expect(granted()[0]).toBe(false)
  nodes[granted().indexOf(true)]?.end()
  const { promise, resolve } = Promise.withResolvers<void>()
  setTimeout(resolve, 700)
  await promise
  expect(granted().filter((one) => one)).toHaveLength(1)
  expect([...asked]).toEqual(['sha256:0 rescue'])
  for (const { end } of nodes) end()
})

it('is taken where no coordinator answers', async () => {
  const { rescue, pass, end } = nodeWith(async () => undefined)
  pass(DESPERATE_MS + 1)
  await vi.waitFor(() => expect(rescue.isGranted).toBe(true))
  end()
})

it('is taken after a minute where a coordinator never grants it', async () => {
  const { rescue, pass, end } = nodeWith(async () => none)
  pass(ALONE_MS)
  await delay(5)
  expect(rescue.isGranted).toBe(false)
  pass(1)
  expect(rescue.isGranted).toBe(true)
  end()
})
