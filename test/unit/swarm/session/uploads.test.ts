import { describe, expect, it } from 'vitest'
import {
  MAX_UPLOADS_AHEAD,
  MAX_UPLOADS_OF_PEER,
  MIN_UPLOADS,
  UPLOAD_AHEAD_MS,
  UPLOAD_RATE_MS,
} from '../../../../daemon/swarm/session/constants.ts'
import { Uploads } from '../../../../daemon/swarm/session/uploads.ts'

/** Nothing was delivered lately by then. */
const later = 1e6

describe('what a node is sending', () => {
  it('counts an upload until its peer has the last chunk', () => {
    const uploads = new Uploads()
    uploads.begin('A', 'blob', 3, 5)
    expect(uploads.room(0)).toBe(MIN_UPLOADS - 1)
    expect([3, 4].map((chunk) => uploads.delivered('A', 'blob', chunk, 1, 0))).toEqual([true, true])
    expect(uploads.room(later)).toBe(MIN_UPLOADS - 1)
    expect(uploads.delivered('A', 'blob', 5, 1, 0)).toBe(true)
    expect(uploads.room(later)).toBe(MIN_UPLOADS)
  })

  it('counts a whole blob as one upload, so that it does not silence what else there is to tell', () => {
    const uploads = new Uploads()
    const over = uploads.begin('A', 'blob', 0, 999)
    expect(uploads.room(0)).toBe(MIN_UPLOADS - 1)
    expect(uploads.sendingOf('blob')).toBe(1)
    over()
    over()
    expect(uploads.sendingOf('blob')).toBe(0)
    expect(uploads.room(0)).toBe(MIN_UPLOADS)
  })

  it('counts no more of a peer than it can have under way: who asks again and again, and never tells, stops nobody else', () => {
    const uploads = new Uploads()
    const overs = Array.from({ length: 100 }, () => uploads.begin('silent', 'blob', 0, 0))
    expect(uploads.sendingOf('blob')).toBe(MAX_UPLOADS_OF_PEER)
    expect(uploads.room(0)).toBe(MIN_UPLOADS - MAX_UPLOADS_OF_PEER)
    for (const over of overs) over()
    expect(uploads.room(0)).toBe(MIN_UPLOADS)
  })

  it('knows what a peer has from elsewhere', () => {
    const uploads = new Uploads()
    uploads.begin('A', 'blob', 3, 5)
    expect(uploads.delivered('B', 'blob', 3, 1, 0)).toBe(false)
    expect(uploads.delivered('A', 'other', 3, 1, 0)).toBe(false)
    expect(uploads.delivered('A', 'blob', 6, 1, 0)).toBe(false)
  })

  it('has room for what is sent until messages have come, however many chunks arrive at the same moment', () => {
    const uploads = new Uploads()
    const deliver = (chunks: number, now: number) => {
      uploads.begin('A', 'blob', 0, 999)
      for (let chunk = 0; chunk < chunks; chunk++) uploads.delivered('A', 'blob', chunk, 1, now)
    }
    deliver(20, later)
    expect(uploads.room(later) - MIN_UPLOADS + 1).toBe(Math.round((20 * UPLOAD_AHEAD_MS) / UPLOAD_RATE_MS))
    expect(uploads.room(2 * later) - MIN_UPLOADS + 1).toBe(0)
  })

  it('does not believe a peer that tells that it got more than any line brings', () => {
    const uploads = new Uploads()
    uploads.begin('liar', 'blob', 0, 65_535)
    for (let chunk = 0; chunk < 65_535; chunk++) uploads.delivered('liar', 'blob', chunk, 1, later)
    expect(uploads.room(later)).toBe(MIN_UPLOADS - 1 + MAX_UPLOADS_AHEAD)
  })
})
