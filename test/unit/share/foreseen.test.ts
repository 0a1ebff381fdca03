import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { Foreseen } from '../../../daemon/share/foreseen.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'

const blobs = (count: number, name = 'blob') =>
  Array.from({ length: count }, (_, index) => digestOf(Buffer.from(`${name} ${index}`)))

const setUp = () => {
  const past: Digest[][] = []
  const foreseen = new Foreseen((digests) => void past.push([...digests]))
  onTestFinished(() => foreseen.stop())
  return { past, foreseen }
}

describe('blobs that are foreseen', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('are given up together after a minute in which nobody asked for them, by one timer', () => {
    const { past, foreseen } = setUp()
    const all = blobs(40)
    foreseen.add(all)
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(59_900)
    expect(past).toEqual([])
    vi.advanceTimersByTime(200)
    expect([past, foreseen.size, vi.getTimerCount()]).toEqual([[all], 0, 0])
  })

  it('are not given up where they were asked for, or named again', () => {
    const { past, foreseen } = setUp()
    const [wanted, again, other] = blobs(3) as [Digest, Digest, Digest]
    foreseen.add([wanted, again, other])
    vi.advanceTimersByTime(30_000)
    foreseen.delete(wanted)
    foreseen.add([again])
    vi.advanceTimersByTime(31_000)
    expect(past).toEqual([[other]])
    vi.advanceTimersByTime(30_000)
    expect(past).toEqual([[other], [again]])
  })

  it('give way to newer ones beyond 1,024', () => {
    const { past, foreseen } = setUp()
    const old = blobs(1_000, 'old')
    foreseen.add(old)
    foreseen.add(blobs(100, 'new'))
    expect([past, foreseen.size]).toEqual([[old.slice(0, 76)], 1_024])
  })

  it('are kept 16 MiB of what is heard of them, which are free again when they are wanted', () => {
    const { foreseen } = setUp()
    const [one, other, unknown] = blobs(3) as [Digest, Digest, Digest]
    foreseen.add([one, other])
    expect(foreseen.keep(unknown, 1)).toBe(false)
    expect(foreseen.keep(one, 12 * 2 ** 20)).toBe(true)
    expect(foreseen.keep(other, 5 * 2 ** 20)).toBe(false)
    expect(foreseen.keep(other, 4 * 2 ** 20)).toBe(true)
    foreseen.delete(one)
    expect(foreseen.keep(other, 12 * 2 ** 20)).toBe(true)
    expect(foreseen.keep(other, 1)).toBe(false)
  })

  it('leave no timer behind when the node stops', () => {
    const { foreseen } = setUp()
    foreseen.add(blobs(3))
    foreseen.stop()
    expect([vi.getTimerCount(), foreseen.size]).toEqual([0, 0])
  })
})
