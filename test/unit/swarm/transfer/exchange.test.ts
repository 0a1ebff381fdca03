import type { Dispatcher, Pool } from 'undici'
import { expect, it, onTestFinished, vi } from 'vitest'
import { Exchange } from '../../../../daemon/swarm/transfer/exchange.ts'

/** An exchange whose response comes when the test says so. */
function exchange() {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  let paused = false
  const controller = {
    get paused() {
      return paused
    },
    pause: () => {
      paused = true
    },
    resume: () => {
      paused = false
    },
    abort: () => {},
  } as unknown as Dispatcher.DispatchController
  const pool = { dispatch: () => true } as unknown as Pool
  const one = new Exchange(pool, { method: 'GET', path: '/' }, 1000)
  one.onRequestStart(controller)
  one.onResponseStart(controller, 200, {})
  const send = (bytes: number) => one.onResponseData(controller, Buffer.alloc(bytes))
  return { one, send, isPaused: () => paused }
}

/** How a wait stands after so many ms: `open`, or what it gave. */
async function after(ms: number, waiting: Promise<boolean>): Promise<boolean | 'open'> {
  let outcome: boolean | 'open' = 'open'
  waiting.then((value) => {
    outcome = value
  })
  await vi.advanceTimersByTimeAsync(ms)
  return outcome
}

it('a reader is woken for many bytes at once, for few a little later, and gets them in one', async () => {
  const { one, send } = exchange()
  const waiting = one.more(10_000)
  send(1000)
  send(2000)
  expect(await after(20, waiting)).toBe('open')
  expect(await after(200, waiting)).toBe(true)
  expect(one.take()?.length).toBe(3000)
  const next = one.more(10_000)
  send(2 ** 16)
  expect(await after(0, next)).toBe(true)
})

it('a reader that has taken all is not told of the end before it comes', async () => {
  const { one, send } = exchange()
  const first = one.more(10_000)
  send(2 ** 16)
  await first
  one.take()
  send(10)
  one.take()
  const second = one.more(10_000)
  expect(await after(1000, second)).toBe('open')
  one.onResponseEnd()
  expect(await after(0, second)).toBe(false)
  expect(vi.getTimerCount()).toBeLessThanOrEqual(1)
  one.abort(new Error('over'))
  expect(vi.getTimerCount()).toBe(0)
})

it('nothing that came is lost to the deadline, which silence ends', async () => {
  const { one, send } = exchange()
  const idleMs = 50
  const first = one.more(idleMs)
  send(10)
  expect(await after(idleMs, first)).toBe(true)
  expect(one.take()?.length).toBe(10)
  await expect(Promise.all([one.more(idleMs), vi.advanceTimersByTimeAsync(idleMs)])).rejects.toThrow('nothing came')
})

it('a socket is paused while much waits, and goes on when little is left', async () => {
  const { one, send, isPaused } = exchange()
  for (let piece = 0; piece < 70; piece++) send(2 ** 14)
  expect(isPaused()).toBe(true)
  for (let piece = one.take(); piece !== undefined; piece = one.take())
    expect(piece.length).toBeLessThanOrEqual(2 ** 16)
  expect(isPaused()).toBe(false)
})
