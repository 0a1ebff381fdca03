import { expect, it } from 'vitest'
import {
  CHUNK_LIMIT_MS,
  FIRST_CHUNK_LIMIT_MS,
  PACE_HALF_LIFE_MS,
  RATE_WINDOW_MS,
  SHARED_REQUESTS,
} from '../../../../daemon/swarm/session/constants.ts'
import { LinePace } from '../../../../daemon/swarm/session/line-pace.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'

it('follows what chunks take', () => {
  const pace = new LinePace()
  expect(pace.chunkMs(0)).toBe(0)
  pace.arrived(100, 0)
  expect(pace.chunkMs(0)).toBe(100)
  for (let chunk = 0; chunk < 80; chunk++) pace.arrived(500, 0)
  expect(pace.chunkMs(0)).toBeCloseTo(500, -1)
})

it('one peer that dawdles does not make a line slow, nor does what was so long ago', () => {
  const pace = new LinePace()
  pace.arrived(10 * CHUNK_LIMIT_MS, 0)
  expect(pace.chunkMs(0)).toBe(FIRST_CHUNK_LIMIT_MS)
  pace.arrived(10 * CHUNK_LIMIT_MS, 0)
  expect(pace.chunkMs(0)).toBeLessThan(0.3 * CHUNK_LIMIT_MS)
  const later = 12 * PACE_HALF_LIFE_MS
  expect(pace.chunkMs(later)).toBeLessThan(1)
  pace.arrived(500, later)
  expect(pace.chunkMs(later)).toBe(500)
})

it('tells what a chunk takes where many requests share the line, as long as something comes', () => {
  const pace = new LinePace()
  expect(pace.shareMs(10, 0)).toBe(0)
  const step = RATE_WINDOW_MS / 20
  let now = 1_000
  const receive = (bytes: number, ms: number) => {
    for (const end = now + ms; now < end; now += step) pace.received((bytes * step) / 1000, now, SHARED_REQUESTS)
  }
  receive(chunkBytes / 10, 10_000)
  expect(pace.shareMs(10, now) / 100_000).toBeCloseTo(1, 1)
  // As few of them have as much, it is the line; the share of each is larger.
  expect(pace.shareMs(1, now) / 10_000).toBeCloseTo(1, 1)
  receive(chunkBytes, 3 * RATE_WINDOW_MS)
  expect(pace.shareMs(10, now) / 10_000).toBeCloseTo(1, 1)
  now += RATE_WINDOW_MS
  expect(pace.shareMs(10, now)).toBe(0)
})

it('takes the line for as fast as it was lately, if less comes from others', () => {
  const pace = new LinePace()
  for (let now = 0; now < 3 * RATE_WINDOW_MS; now += 10) pace.received(chunkBytes / 100, now, SHARED_REQUESTS)
  let now = 10 * RATE_WINDOW_MS
  for (const end = 20 * RATE_WINDOW_MS; now < end; now += 10) pace.received(1, now, SHARED_REQUESTS)
  expect(pace.shareMs(10, now)).toBeLessThan(20_000)
  for (const end = now + 10 * PACE_HALF_LIFE_MS; now < end; now += 1_000)
    pace.received(chunkBytes / 10, now, SHARED_REQUESTS)
  expect(pace.shareMs(10, now) / 100_000).toBeCloseTo(1, 1)
})

it('takes the line for slow where few requests have as much as many had, and their senders otherwise', () => {
  const pace = new LinePace()
  let now = 1_000
  const receive = (bytes: number, requests: number) => {
    for (const end = now + 5 * RATE_WINDOW_MS; now < end; now += 10) pace.received((bytes * 10) / 1000, now, requests)
  }
  // One peer alone, on a line of which nothing is known.
  receive(chunkBytes / 10, 1)
  expect(pace.shareMs(1, now)).toBe(0)
  receive(chunkBytes / 2, SHARED_REQUESTS)
  receive(chunkBytes / 2, 1)
  expect(pace.shareMs(1, now) / 2_000).toBeCloseTo(1, 1)
  receive(chunkBytes / 4, 1)
  expect(pace.shareMs(1, now)).toBe(0)
  expect(pace.shareMs(SHARED_REQUESTS, now)).toBeGreaterThan(0)
})
