import { expect, test } from 'vitest'
import { configSchema } from '../../../config/schema.ts'
import { createRegistry } from '../../../proxy/upstream/registry.ts'

function registryOf(options: object) {
  const config = configSchema.parse({ registries: { 'r.example': options } })
  const entry = config.registries['r.example']
  if (entry === undefined) throw new Error('it is not there')
  const files = { clientCertificate: undefined }
  return createRegistry('r.example', entry, { settings: config.upstream, files, userAgent: 'test', now: Date.now })
}

test.each([
  [{ endpoint: 'https://r.example' }, 'https://r.example/v2/', 'a/b'],
  [{ endpoint: 'https://r.example/' }, 'https://r.example/v2/', 'a/b'],
  [{ endpoint: 'https://r.example/artifactory/docker/' }, 'https://r.example/artifactory/docker/v2/', 'a/b'],
  // Without the option, what the path says is no repository.
  [{ endpoint: 'https://r.example/v2/proxy' }, 'https://r.example/v2/proxy/v2/', 'a/b'],
])('%j: the API is at %s', (options, root, name) => {
  const registry = registryOf(options)
  expect(registry.pingUrl.href).toBe(root)
  expect(registry.urlOf('a/b', 'manifests/latest').href).toBe(`${root}a/b/manifests/latest`)
  expect(registry.repositoryAt('a/b')).toBe(name)
})

test.each([
  ['https://r.example/v2/hub', 'https://r.example/v2/', 'https://r.example/v2/hub/', 'hub/a/b'],
  ['https://r.example/v2/hub/sub/', 'https://r.example/v2/', 'https://r.example/v2/hub/sub/', 'hub/sub/a/b'],
  ['https://r.example/api/v2/hub', 'https://r.example/api/v2/', 'https://r.example/api/v2/hub/', 'hub/a/b'],
  ['https://r.example/v2', 'https://r.example/v2/', 'https://r.example/v2/', 'a/b'],
  ['https://r.example/docker', 'https://r.example/docker/', 'https://r.example/docker/', 'a/b'],
  ['https://r.example', 'https://r.example/', 'https://r.example/', 'a/b'],
])('%s as the whole root of the API', (endpoint, ping, root, name) => {
  const registry = registryOf({ endpoint, overridePath: true })
  expect(registry.pingUrl.href).toBe(ping)
  expect(registry.urlOf('a/b', 'blobs/x').href).toBe(`${root}a/b/blobs/x`)
  expect(registry.repositoryAt('a/b')).toBe(name)
})

test('one way to a host is kept, and made anew after it was closed', async () => {
  const registry = registryOf({ endpoint: 'https://r.example' })
  const url = new URL('https://r.example/v2/')
  const first = registry.dispatcherFor(url)
  expect(registry.dispatcherFor(new URL('https://cdn.example'))).toBe(first)
  await registry.close()
  expect(registry.dispatcherFor(url)).not.toBe(first)
  await registry.destroy()
})

test('redirects to http are an option', () => {
  expect(registryOf({ endpoint: 'https://r.example' }).insecureRedirects).toBe(false)
  expect(registryOf({ endpoint: 'https://r.example', insecureRedirects: true }).insecureRedirects).toBe(true)
})
