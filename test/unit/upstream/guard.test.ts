import type { LookupFunction, Socket } from 'node:net'
import type { buildConnector } from 'undici'
import { describe, expect, test } from 'vitest'
import { WayError } from '../../../proxy/upstream/errors.ts'
import { Bounds, OwnPorts, publicLookup } from '../../../proxy/upstream/guard.ts'

const resolvesTo =
  (...addresses: readonly string[]): LookupFunction =>
  (_name, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

/** What a socket is given to connect to. */
function resolve(lookup: LookupFunction | undefined, name: string, all: boolean) {
  const { promise, resolve: done } = Promise.withResolvers<unknown[]>()
  publicLookup(lookup)(name, { all }, (...given) => done(given))
  return promise
}

test('public addresses are given as they were asked for', async () => {
  const lookup = resolvesTo('8.8.8.8', '2606:4700::1')
  expect(await resolve(lookup, 'a.example.com', true)).toEqual([
    null,
    [
      { address: '8.8.8.8', family: 4 },
      { address: '2606:4700::1', family: 6 },
    ],
  ])
  expect(await resolve(lookup, 'a.example.com', false)).toEqual([null, '8.8.8.8', 4])
})

test('of several addresses only the public ones are', async () => {
  const lookup = resolvesTo('10.0.0.1', '8.8.8.8', '::1')
  expect(await resolve(lookup, 'a.example.com', true)).toEqual([null, [{ address: '8.8.8.8', family: 4 }]])
})

test.each([true, false])('without a public one there is an error that names the reason (all: %s)', async (all) => {
  const [error] = await resolve(resolvesTo('192.168.0.1'), 'a.example.com', all)
  expect(error).toBeInstanceOf(WayError)
  expect(error).toMatchObject({ mayPass: false, message: expect.stringMatching(/192\.168\.0\.1.*anyRegistry/) })
})

test('a name that cannot be resolved stays what it is', async () => {
  const failure = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
  const [error] = await resolve((_name, _options, callback) => callback(failure, ''), 'a.example.com', true)
  expect(error).toBe(failure)
})

test('the system is asked where nothing else is given', async () => {
  const [error] = await resolve(undefined, 'localhost', true)
  expect(error).toMatchObject({ message: expect.stringMatching(/localhost has no public address/) })
})

describe('a registry by name', () => {
  /** Connects as a name that leads to an address. @returns whether the connection is used */
  async function connects(bounds: Bounds, url: string, remoteAddress: string): Promise<boolean> {
    const { protocol, host, hostname, port } = new URL(url)
    const socket = { remoteAddress, remotePort: Number(port), destroy: () => {} } as unknown as Socket
    const connector = bounds.guarded((_options, callback) => callback(null, socket))
    const { promise, resolve } = Promise.withResolvers<boolean>()
    const options: buildConnector.Options = { protocol, host, hostname, port }
    connector(options, (...[error]) => resolve(error === null))
    return await promise
  }

  const storages = ['http://myhost:5001', 'http://storage.example:5001']

  test.each(['127.0.1.1', '::1', 'fe80::1%eth0'])('that leads here, to %s, may have its storage here', async (here) => {
    const bounds = new Bounds(new URL('http://myhost:5000'), [], new OwnPorts())
    expect(await connects(bounds, 'http://myhost:5001', here)).toBe(false)
    expect(await connects(bounds, 'http://myhost:5000', here)).toBe(true)
    for (const storage of storages) expect(await connects(bounds, storage, here)).toBe(true)
    expect(() => bounds.check(new URL('http://localhost:5001'))).not.toThrow()
  })

  test.each([[['192.0.2.1']], [['192.0.2.1', '127.0.0.1']], [['127.0.0.1', '192.0.2.1', '127.0.0.1']]])(
    'that has led elsewhere, as %s, may not, wherever it leads now',
    async (addresses) => {
      const bounds = new Bounds(new URL('http://myhost:5000'), [], new OwnPorts())
      for (const address of addresses) expect(await connects(bounds, 'http://myhost:5000', address)).toBe(true)
      for (const storage of storages) expect(await connects(bounds, storage, '127.0.0.1')).toBe(false)
      for (const host of ['localhost', '127.0.0.1', '[::1]', '0.0.0.0', '169.254.169.254']) {
        expect(() => bounds.check(new URL(`http://${host}:5001`))).toThrow('on this machine or on its own link')
      }
    },
  )

  test('that leads here reaches no server of the node itself', async () => {
    const ports = new OwnPorts()
    ports.add(5001)
    const bounds = new Bounds(new URL('http://myhost:5000'), [], ports)
    expect(await connects(bounds, 'http://myhost:5000', '127.0.1.1')).toBe(true)
    expect(await connects(bounds, 'http://myhost:5001', '127.0.1.1')).toBe(false)
  })
})
