import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hostOfKey, parseDockerConfig, passwordFrom } from '../../../proxy/upstream/docker-config.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')
const parse = (value: unknown) => parseDockerConfig(JSON.stringify(value))

const keys: readonly [key: string, host: string | undefined][] = [
  ['https://index.docker.io/v1/', 'docker.io'],
  ['index.docker.io', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
  ['docker.io', 'docker.io'],
  ['ghcr.io', 'ghcr.io'],
  ['https://ghcr.io', 'ghcr.io'],
  ['https://ghcr.io/v2/', 'ghcr.io'],
  ['GHCR.io/', 'ghcr.io'],
  ['127.0.0.1:5000', '127.0.0.1:5000'],
  ['quay.io/namespace', undefined],
  ['', undefined],
]

test.each(keys)('the key %s is for %s', (key, host) => {
  expect(hostOfKey(key)).toBe(host)
})

test('auth holds user and password, which may contain colons', () => {
  const { auths } = parse({ auths: { 'a.example': { auth: base64('user:pass:word') } } })
  expect(auths.get('a.example')).toEqual({ kind: 'password', username: 'user', password: 'pass:word' })
})

test('an identity token comes before the password', () => {
  const { auths } = parse({ auths: { 'a.example': { auth: base64('user:'), identitytoken: 'refresh' } } })
  expect(auths.get('a.example')).toEqual({ kind: 'identity-token', token: 'refresh' })
})

test('user name and password may stand by themselves', () => {
  const { auths } = parse({ auths: { 'a.example': { username: 'user', password: 'secret' } } })
  expect(auths.get('a.example')).toEqual({ kind: 'password', username: 'user', password: 'secret' })
})

test('helpers are read', () => {
  const { credHelpers, credsStore } = parse({ credsStore: 'desktop', credHelpers: { 'https://gcr.io': 'gcloud' } })
  expect([...credHelpers]).toEqual([['gcr.io', 'gcloud']])
  expect(credsStore).toBe('desktop')
})

test('entries that make no sense are left out, the others stay', () => {
  const { auths, credHelpers, credsStore } = parse({
    auths: { a: null, b: {}, c: { auth: 'bm8tY29sb24=' }, d: { auth: 7 }, 'e.example': { auth: base64('u:p') }, f: [] },
    credHelpers: { g: 3, h: '' },
    credsStore: {},
  })
  expect([...auths.keys()]).toEqual(['e.example'])
  expect(credHelpers.size).toBe(0)
  expect(credsStore).toBeUndefined()
})

test('what is no JSON object fails without quoting it', () => {
  const text = '{"auths":{"a":{"auth":"c2VjcmV0"'
  expect(() => parseDockerConfig(text)).toThrow(expect.objectContaining({ message: 'not JSON' }))
  expect(() => parseDockerConfig('[]')).toThrow('not a JSON object')
})

test('a key names its host with and without the port and the dot', () => {
  expect(['https://ghcr.io:443', 'ghcr.io.', 'https://ghcr.io:443/v2/'].map(hostOfKey)).toEqual(
    Array(3).fill('ghcr.io'),
  )
})

test('any JSON object is read without failing', () => {
  const entry = fc.dictionary(fc.constantFrom('auth', 'identitytoken', 'username', 'password'), fc.jsonValue())
  const config = fc.record(
    {
      auths: fc.dictionary(fc.string(), fc.oneof(entry, fc.jsonValue())),
      credHelpers: fc.jsonValue(),
      credsStore: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  fc.assert(fc.property(config, (value) => parse(value) !== undefined))
})

test('a user name and a password are found again', () => {
  const name = fc.string({ minLength: 1 }).filter((text) => !text.includes(':'))
  fc.assert(
    fc.property(name, fc.string(), (username, password) => {
      fc.pre(!password.endsWith('\0'))
      expect(passwordFrom(`${username}:${password}`)).toEqual({ kind: 'password', username, password })
    }),
  )
  expect(passwordFrom('nobody')).toBeUndefined()
  expect(passwordFrom(':password')).toBeUndefined()
})
