import { beforeEach, expect, it } from 'vitest'
import {
  HELP_BELOW,
  HELP_GAIN,
  HELP_REST_MS,
  HELP_WINDOW_CHUNKS,
  HELP_WINDOW_MS,
  SLOW_LINE_MS,
} from '../../../../daemon/fetch/download/constants.ts'
import { SlowPeers } from '../../../../daemon/fetch/download/slow-peers.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'

const stepMs = 100
let peers: SlowPeers
let now: number
let others: number
let sent: { fromPeers: number; fromUpstream: number }

beforeEach(() => {
  peers = new SlowPeers()
  now = 0
  others = 0
  sent = { fromPeers: 0, fromUpstream: 0 }
})

/** Bytes come at these rates, in bytes a second, for so long; `bound` is that of both together. @returns for how many ms of it upstream should help */
function go(
  ms: number,
  {
    ofPeers = 0,
    ofUpstream = 0,
    bound = Number.POSITIVE_INFINITY,
    isWaiting = true,
    chunkMs = 0,
    ofOthers = 0,
    upstreamMs = 0,
  },
) {
  let helped = 0
  for (const end = now + ms; now < end; now += stepMs) {
    const pace = { bytes: others + sent.fromPeers + sent.fromUpstream, chunkMs: () => chunkMs }
    peers.measure(now, { ...sent, isWaiting, pace, upstreamMs })
    others += (ofOthers * stepMs) / 1000
    if (peers.areSlow) helped += stepMs
    const upstream = peers.areSlow ? ofUpstream : 0
    const part = Math.min(1, bound / (ofPeers + upstream))
    sent.fromPeers += (ofPeers * part * stepMs) / 1000
    sent.fromUpstream += (upstream * part * stepMs) / 1000
  }
  return helped
}

it('peers that give enough get no help, however fast upstream might be', () => {
  expect(go(60_000, { ofPeers: 1.1 * HELP_BELOW, ofUpstream: 100 * HELP_BELOW })).toBe(0)
})

it('slow peers get help after a while, for as long as they are slow', () => {
  expect(go(HELP_WINDOW_MS, { ofPeers: HELP_BELOW / 2 })).toBe(0)
  expect(go(30_000, { ofPeers: HELP_BELOW / 2, ofUpstream: 10 * HELP_BELOW })).toBe(30_000)
  go(HELP_WINDOW_MS, { ofPeers: 2 * HELP_BELOW, ofUpstream: 10 * HELP_BELOW })
  expect(go(30_000, { ofPeers: 2 * HELP_BELOW, ofUpstream: 10 * HELP_BELOW })).toBe(0)
})

it('so do peers of which nothing comes at all', () => {
  expect(go(2 * HELP_WINDOW_MS, { ofPeers: 0 })).toBe(HELP_WINDOW_MS)
})

it.each([
  ['upstream is slow, too', { ofPeers: HELP_BELOW / 2, ofUpstream: HELP_BELOW / 8 }],
  ['it is a line that both share', { ofPeers: HELP_BELOW, ofUpstream: HELP_BELOW, bound: HELP_BELOW / 2 }],
])('upstream is left alone, and tried again much later, where it makes nothing faster: %s', (_, slow) => {
  expect(go(HELP_REST_MS, slow)).toBe(HELP_WINDOW_MS)
  expect(go(HELP_REST_MS, slow)).toBe(HELP_WINDOW_MS)
})

it('it is not left alone where it has not been asked: another node has the claim', () => {
  expect(go(HELP_REST_MS, { ofPeers: HELP_BELOW / 2, ofUpstream: 0 })).toBe(HELP_REST_MS - HELP_WINDOW_MS)
})

it('a slow line is looked at for longer: that a chunk is on its way must not look like nothing', () => {
  const chunkMs = HELP_WINDOW_MS
  const slow = { ofPeers: 0, ofUpstream: HELP_BELOW, chunkMs }
  expect(go(HELP_WINDOW_CHUNKS * chunkMs, slow)).toBe(0)
  expect(go(chunkMs, slow)).toBe(chunkMs)
})

it('other blobs that take a slow line make no peer of this one slow; on a fast line they are none of its business', () => {
  const beside = { ofPeers: HELP_BELOW / 2, ofOthers: HELP_BELOW, ofUpstream: 10 * HELP_BELOW }
  expect(go(60_000, { ...beside, chunkMs: SLOW_LINE_MS })).toBe(0)
  expect(go(60_000, beside)).toBeGreaterThan(30_000)
})

it('time in which peers have nothing to send does not count', () => {
  go(HELP_WINDOW_MS - stepMs, { ofPeers: 0 })
  expect(go(60_000, { ofPeers: 0, isWaiting: false })).toBe(0)
  expect(go(HELP_WINDOW_MS - stepMs, { ofPeers: 0 })).toBe(0)
})

it('it does not help where it was not much faster to the one who fetched the blob there', () => {
  const ofPeers = HELP_BELOW / 4
  const upstreamMs = (chunkBytes / (ofPeers * HELP_GAIN)) * 1100
  expect(go(10 * HELP_WINDOW_MS, { ofPeers, upstreamMs })).toBe(0)
  expect(go(2 * HELP_WINDOW_MS, { ofPeers, upstreamMs: upstreamMs * 0.8 })).toBeGreaterThan(0)
})
