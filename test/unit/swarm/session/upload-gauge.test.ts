import { describe, expect, it } from 'vitest'
import { GAUGE_BYTES, GAUGE_MS, MAX_UPLOADS, MIN_UPLOADS } from '../../../../daemon/swarm/session/constants.ts'
import { UploadGauge } from '../../../../daemon/swarm/session/upload-gauge.ts'

/** Sends at a rate, in bytes a ms, for so many looks; gives the last number of uploads that it would have. */
function send(gauge: UploadGauge, from: { now: number; total: number }, rate: number, looks: number): number {
  let wanted = MIN_UPLOADS
  for (let look = 0; look < looks; look++) {
    from.now += GAUGE_BYTES / rate
    from.total += GAUGE_BYTES
    wanted += gauge.room(wanted, from.total, from.now)
  }
  return wanted
}

describe('the gauge of uploads', () => {
  it('wants a few uploads while the uplink is full', () => {
    const gauge = new UploadGauge()
    expect(gauge.room(0, 0, 0)).toBe(MIN_UPLOADS)
    expect(send(gauge, { now: 0, total: 0 }, 100_000, 20)).toBe(MIN_UPLOADS)
    expect(gauge.room(MIN_UPLOADS + 2, 0, 20 * GAUGE_MS)).toBe(-2)
  })

  it('wants more and more while less is sent than could be, up to a limit, and fewer again', () => {
    const gauge = new UploadGauge()
    const state = { now: 0, total: 0 }
    gauge.room(0, 0, 0)
    send(gauge, state, 100_000, 5)
    expect(send(gauge, state, 30_000, 3)).toBe(MIN_UPLOADS + 3)
    expect(send(gauge, state, 30_000, 100)).toBe(MAX_UPLOADS)
    expect(send(gauge, state, 100_000, 100)).toBe(MIN_UPLOADS)
  })

  it('learns nothing from times when nothing is sent', () => {
    const gauge = new UploadGauge()
    const state = { now: 0, total: 0 }
    gauge.room(0, 0, 0)
    send(gauge, state, 100_000, 5)
    for (let times = 0; times < 50; times++) {
      state.now += GAUGE_MS
      expect(gauge.room(0, state.total, state.now)).toBe(MIN_UPLOADS)
    }
  })

  it('forgets how fast the network was', () => {
    const gauge = new UploadGauge()
    const state = { now: 0, total: 0 }
    gauge.room(0, 0, 0)
    send(gauge, state, 100_000, 5)
    expect(send(gauge, state, 50_000, 100)).toBe(MAX_UPLOADS)
    expect(send(gauge, state, 50_000, 1000)).toBe(MIN_UPLOADS)
  })

  it('does not take one chunk more or less for a rate', () => {
    const gauge = new UploadGauge()
    gauge.room(0, 0, 0)
    let wanted = MIN_UPLOADS
    for (let now = 10; now < 60_000; now += 10) {
      const chunks = Math.floor((now * 6) / 1000)
      wanted += gauge.room(wanted, chunks * 2 ** 20, now)
      expect(wanted).toBe(MIN_UPLOADS)
    }
  })

  it('wants more where nothing gets through at all', () => {
    const gauge = new UploadGauge()
    const state = { now: 0, total: 0 }
    gauge.room(0, 0, 0)
    send(gauge, state, 100_000, 5)
    for (let times = 0; times < 3; times++) {
      state.now += (2 * GAUGE_BYTES) / 90_000
      expect(gauge.room(MIN_UPLOADS + times, state.total, state.now)).toBe(1)
    }
  })
})
