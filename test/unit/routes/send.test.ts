import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Readers } from '../../../proxy/readers.ts'
import type { RegistryContext } from '../../../proxy/routes/context.ts'
import { sendBody } from '../../../proxy/routes/send.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const never = new AbortController().signal

function contextOf(readers: Readers) {
  const flushHeaders = vi.fn<() => void>()
  const res: Partial<ServerResponse> = { flushHeaders }
  const req = { socket: { remoteAddress: '192.0.2.1' } }
  const state = { readers, signal: never, facts: { bytes: 0 } }
  return { flushHeaders, req, ctx: { req, res, state } as unknown as RegistryContext }
}

async function* stored() {
  yield Buffer.from('it is here')
}

it('a body that is here, and has no turn, is no answer: its client can go on to its next mirror, and is in line no more', async () => {
  const readers = new Readers()
  const { ctx, flushHeaders } = contextOf(readers)
  const places = await Promise.all(Array.from({ length: 128 }, () => readers.enter(ctx.req, never)))
  const read = vi.fn<() => AsyncGenerator<Buffer>>(stored)
  const body = { [Symbol.asyncIterator]: read }
  const outcome = sendBody(ctx, body, () => {}).then(
    () => 'sent',
    (error: Error) => error,
  )
  for (let second = 0; second < 26; second++) {
    for (const place of places) place.moved()
    await vi.advanceTimersByTimeAsync(1_000)
  }
  expect(await outcome).toMatchObject({ status: 503, message: expect.stringContaining('as many bodies as it can') })
  expect(flushHeaders).not.toHaveBeenCalled()
  places[0]?.leave()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(read).not.toHaveBeenCalled()
  // The place was not lost to it.
  const next = await readers.enter(ctx.req, AbortSignal.timeout(1_000))
  expect(next.signal.aborted).toBe(false)
})
