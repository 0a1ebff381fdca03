import fc from 'fast-check'
import { expect, test } from 'vitest'
import { configSchema } from '../../config/schema.ts'
import { RegistryList } from '../../proxy/known-registries.ts'

function listOf(names: readonly string[], anyPublic = false): RegistryList {
  const registries = Object.fromEntries(names.map((name) => [name, { endpoint: `https://${name}`, username: name }]))
  return new RegistryList(configSchema.parse({ registries }).registries, anyPublic)
}

test.each([
  ['docker.io', 'docker.io', 'listed'],
  ['a.example.com', 'a.example.com', 'listed'],
  ['b.example.com', '*.example.com', 'pattern'],
  ['b.c.example.com', '*.example.com', 'pattern'],
  ['b.dev.example.com', '*.dev.example.com', 'pattern'],
  ['dev.example.com', '*.example.com', 'pattern'],
  ['b.example.com:5000', '*.example.com:5000', 'pattern'],
  ['my.example', 'my.example:443', 'listed'],
  ['registry:5000', 'registry:5000', 'listed'],
])('%s is %s (%s)', (name, entry, reason) => {
  const names = [
    '*.example.com',
    '*.dev.example.com',
    '*.example.com:5000',
    'docker.io',
    'a.example.com',
    'my.example:443',
    'registry:5000',
  ]
  expect(listOf(names).find(name)).toMatchObject({ config: { username: entry }, reason })
  expect(listOf(names).has(name)).toBe(true)
})

test.each([
  'example.com',
  '.example.com',
  'aexample.com',
  'b.example.com:6000',
  'b.example.com.evil.net',
  '*.example.com',
  'B.example.com',
  'b..example.com',
  'a/b.example.com',
  'user@b.example.com',
  'https://b.example.com',
  '10.0.0.1',
  '',
])('%j is not known', (name) => {
  expect(listOf(['*.example.com']).has(name)).toBe(false)
})

test('any public registry is known where that is allowed, at https and its name', () => {
  const list = listOf(['docker.io'], true)
  expect(list.find('registry.example.com:5000')).toMatchObject({
    config: { endpoint: 'https://registry.example.com:5000', insecure: false },
    reason: 'public',
  })
  for (const name of ['localhost:5000', '8.8.8.8', '[2606:4700::1]:5000', 'registry:5000', 'a.local', 'a.internal']) {
    expect(list.has(name)).toBe(false)
  }
})

test('whatever a client names, only public hosts and those on the list are known', () => {
  const list = listOf(['docker.io', '*.example.com'], true)
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.domain(), fc.ipV4(), fc.ipV6(), fc.webUrl()), (name) => {
      if (list.has(name)) expect(name).toMatch(/^[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?$/)
    }),
  )
})
