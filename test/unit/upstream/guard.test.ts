import type { LookupFunction } from 'node:net'
import { expect, test } from 'vitest'
import { WayError } from '../../../proxy/upstream/errors.ts'
import { publicLookup } from '../../../proxy/upstream/guard.ts'

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
