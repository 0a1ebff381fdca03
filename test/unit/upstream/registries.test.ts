import { expect, test } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { RegistryList } from '../../../proxy/known-registries.ts'
import { Registries } from '../../../proxy/upstream/registries.ts'

function registriesOf(given: object): Registries {
  const config = configSchema.parse(given)
  const list = new RegistryList(config.registries, config.upstream.anyRegistry)
  return new Registries({ list, settings: config.upstream, userAgent: 'test', now: Date.now })
}

const world = {
  registries: {
    'docker.io': { endpoint: 'https://registry-1.docker.io' },
    'a.example.com:443': { endpoint: 'http://10.0.0.1:5000' },
    '*.example.com': { endpoint: 'https://*.example.com', username: 'me', password: 'x' },
  },
  upstream: { anyRegistry: true },
}

test('a registry is made when it is asked for, and kept', () => {
  const registries = registriesOf(world)
  expect(registries.known('a.example.com')?.endpoint.href).toBe('http://10.0.0.1:5000/')
  expect(registries.known('b.example.com')).toBeUndefined()
  const made = registries.get('b.example.com')
  expect(made).toMatchObject({ name: 'b.example.com', credentials: { username: 'me' } })
  expect(made.endpoint.href).toBe('https://b.example.com/')
  expect(registries.get('b.example.com')).toBe(made)
  expect(registries.known('b.example.com')).toBe(made)
  expect(() => registries.get('registry.internal')).toThrow(expect.objectContaining({ code: 'not-found' }))
})

test('of those that are made, the least recently used goes first', () => {
  const registries = registriesOf(world)
  const first = registries.get('r0.example.com')
  for (let index = 1; index < 100; index++) registries.get(`r${index}.example.com`)
  expect(registries.get('r0.example.com')).toBe(first)
  registries.get('public.example.net')
  expect(registries.known('r0.example.com')).toBe(first)
  expect(registries.known('r1.example.com')).toBeUndefined()
  expect(registries.known('docker.io')).toBeDefined()
})

test.each([
  ['https://registry-1.docker.io', 'docker.io'],
  ['http://10.0.0.1:5000', 'a.example.com'],
  ['https://b.example.com', 'b.example.com'],
  // Its own entry says where it is.
  ['https://a.example.com', undefined],
  ['http://b.example.com', undefined],
  ['https://b.example.com:5000', undefined],
  ['https://public.example.net', undefined],
])('the registry at %s is %s', (origin, name) => {
  expect(registriesOf(world).at(origin)?.name).toBe(name)
})
