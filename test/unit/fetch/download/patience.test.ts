import { describe, expect, it } from 'vitest'
import {
  ALONE_MS,
  DESPERATE_CHUNKS,
  DESPERATE_LIMIT_MS,
  DESPERATE_MS,
  DESPERATE_PEERS,
  FAIR_SHARES,
  SLOW_LINE_MS,
  TAKEN_LIMIT_MS,
} from '../../../../daemon/fetch/download/constants.ts'
import { Patience } from '../../../../daemon/fetch/download/patience.ts'
import { quarterBytes as chunkBytes } from '../../../../daemon/verify/quarter.ts'

function scene(random = 0, chunkMs = 0) {
  let at = 1000
  // Of a node that has run for long.
  const pace = { bytes: 1e9, chunkMs: () => chunkMs }
  const patience = new Patience({ pace, random: () => random, now: () => at })
  const pass = (ms: number, bytes: number, peers = 1, upstreamMs = 0) => {
    at += ms
    patience.look({ bytes, peers, upstreamMs })
    return patience.isOver
  }
  return { patience, pass, pace }
}

describe('the patience with peers', () => {
  it('is lost without a chunk, though a byte comes now and then, and found again with the next one', () => {
    const { patience, pass } = scene()
    expect(pass(DESPERATE_MS, 4)).toBe(false)
    expect(pass(1, 5)).toBe(true)
    patience.held(5, false)
    expect(patience.isOver).toBe(true)
    patience.held(5, true)
    expect(patience.isOver).toBe(false)
    expect(pass(DESPERATE_MS, 6)).toBe(false)
  })

  it('lasts while several slow chunks are on their way, but not for ever', () => {
    const { patience, pass } = scene()
    // 8 chunks at the same time over a link that takes 3 s for each.
    expect(pass(23_000, 7 * chunkBytes)).toBe(false)
    patience.held(8 * chunkBytes, true)
    expect(pass(24_000, 16 * chunkBytes)).toBe(false)
    expect(pass(DESPERATE_LIMIT_MS, 99 * chunkBytes)).toBe(true)
  })

  it('lasts while other blobs take a slow line, but not for ever', () => {
    const { pass, pace } = scene(0, SLOW_LINE_MS)
    pace.bytes += 3 * chunkBytes
    expect(pass(23_000, 0)).toBe(false)
    pace.bytes += 99 * chunkBytes
    expect(pass(TAKEN_LIMIT_MS - 23_000, 0)).toBe(false)
    expect(pass(1, 0)).toBe(true)
  })

  it('does not last that long where it is this blob that takes the line', () => {
    const { pass, pace } = scene(0, SLOW_LINE_MS)
    pace.bytes += 99 * chunkBytes
    expect(pass(DESPERATE_LIMIT_MS, 99 * chunkBytes)).toBe(false)
    expect(pass(1, 99 * chunkBytes)).toBe(true)
  })

  it('does not last because other blobs come over a fast line', () => {
    const { pass, pace } = scene()
    pace.bytes += 99 * chunkBytes
    expect(pass(DESPERATE_MS + 1, 0)).toBe(true)
  })

  it('lasts for as long as a chunk would take if all asked upstream, but not for ever', () => {
    const peers = 4
    const { pass } = scene()
    const fairMs = FAIR_SHARES * (peers + 1) * 2_000
    expect(pass(fairMs, 0, peers, 2_000)).toBe(false)
    expect(pass(1, 0, peers, 2_000)).toBe(true)
    expect(scene().pass(DESPERATE_LIMIT_MS + 1, 0, 64, 2_000)).toBe(true)
  })

  it('is long over when even a turn at upstream did not come, until a peer brings a chunk', () => {
    const { patience, pass } = scene(0.5)
    pass(ALONE_MS * 1.5, 0)
    expect([patience.isOver, patience.isLongOver]).toEqual([true, false])
    pass(1, 0)
    expect(patience.isLongOver).toBe(true)
    patience.held(0, false)
    expect(patience.isLongOver).toBe(true)
    patience.held(1, true)
    expect(patience.isLongOver).toBe(false)
  })

  it('is not lost by all nodes at once', () => {
    expect(scene(0.5).pass(DESPERATE_MS * 1.2, 0)).toBe(false)
    expect(scene(0.1).pass(DESPERATE_MS * 1.2, 0)).toBe(true)
    expect(scene(0.5).pass(DESPERATE_MS * 1.9, 0, DESPERATE_PEERS)).toBe(false)
    expect(scene(0.5).pass(DESPERATE_MS * 2.1, 0, 10 * DESPERATE_PEERS)).toBe(true)
  })

  it('leaves upstream to others as soon as a peer goes on, and asks for more where none does', () => {
    const { patience, pass } = scene()
    pass(DESPERATE_MS + 1, 0)
    const asked = [1, 2, 3, 4, 5].map(() => {
      const { chunks } = patience
      patience.held(0, false)
      return chunks
    })
    expect([...asked, patience.chunks]).toEqual([1, 2, 4, 8, DESPERATE_CHUNKS, DESPERATE_CHUNKS])
    patience.held(0, true)
    expect(patience.chunks).toBe(1)
  })
})
