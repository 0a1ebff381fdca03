import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { Readers } from '../../proxy/readers.ts'

const never = new AbortController().signal
const from = (remoteAddress: string | undefined) => ({ socket: { remoteAddress } }) as IncomingMessage

/** Whether a client gets a place at once. */
async function getsIn(readers: Readers, address: string): Promise<boolean> {
  const giveUp = new AbortController()
  const entering = readers.enter(from(address), giveUp.signal).then(
    () => true,
    () => false,
  )
  // A place that is free is taken within this turn of the event loop.
  await new Promise((resolve) => setImmediate(resolve))
  giveUp.abort(new Error('it waits'))
  return await entering
}

async function fill(readers: Readers, address: string, count: number) {
  return await Promise.all(Array.from({ length: count }, () => readers.enter(from(address), never)))
}

describe('places of readers', () => {
  it('are shared: a client that has its share waits, and others do not', async () => {
    const readers = new Readers()
    const [leave] = await fill(readers, '192.0.2.1', 128)
    expect(await getsIn(readers, '::ffff:192.0.2.1')).toBe(false)
    expect(await getsIn(readers, '192.0.2.2')).toBe(true)
    leave?.()
    expect(await getsIn(readers, '192.0.2.1')).toBe(true)
  })

  it('of one IPv6 network are one client’s', async () => {
    const readers = new Readers()
    await fill(readers, '2001:db8:0:7::1', 64)
    await fill(readers, '2001:db8:0:7:a:b:c:d', 64)
    expect(await getsIn(readers, '2001:db8::7:ffff:0:0:1')).toBe(false)
    expect(await getsIn(readers, '2001:db8:0:8::1')).toBe(true)
    expect(await getsIn(readers, '::1')).toBe(true)
  })

  it('are so many in all, and it shows that others wait', async () => {
    const readers = new Readers()
    for (const last of [1, 2, 3, 4]) await fill(readers, `192.0.2.${last}`, 128)
    expect(readers.isCrowded).toBe(false)
    const giveUp = new AbortController()
    const waiting = readers.enter(from('192.0.2.5'), giveUp.signal)
    await new Promise((resolve) => setImmediate(resolve))
    expect(readers.isCrowded).toBe(true)
    giveUp.abort(new Error('it has waited long enough'))
    await expect(waiting).rejects.toThrow('long enough')
    expect(readers.isCrowded).toBe(false)
  })
})
