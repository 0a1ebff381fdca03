import fc from 'fast-check'
import { expect, test } from 'vitest'
import { checkRealm } from '../../../proxy/upstream/realm.ts'
import { UpstreamError } from '../../../proxy/upstream/types.ts'

const check = (realm: string | undefined, endpoint: string, authRealms: readonly string[] = []) =>
  checkRealm(realm, 'registry.example', new URL(endpoint), authRealms)

const allowed: readonly [realm: string, endpoint: string, authRealms?: readonly string[]][] = [
  ['https://auth.docker.io/token', 'https://registry-1.docker.io'],
  ['https://quay.io/v2/auth', 'https://quay.io'],
  ['https://docker-auth.elastic.co/auth', 'https://docker.elastic.co'],
  ['https://gitlab.com/jwt/auth', 'https://registry.gitlab.com'],
  ['https://auth.corp.internal/token', 'https://registry.corp.internal'],
  ['https://registry.example:8443/token', 'https://registry.example'],
  ['https://registry.example/token', 'http://registry.example'],
  ['http://127.0.0.1:9000/token', 'http://127.0.0.1:5000'],
  ['http://localhost:9000/token', 'http://localhost:5000'],
  ['http://[::1]:9000/token', 'http://[::1]:5000'],
  ['http://registry:9000/token', 'http://registry:5000'],
  ['https://ghcr.io/token', 'https://lscr.io', ['https://ghcr.io/token']],
  ['https://ghcr.io/token/sub?x=y', 'https://lscr.io', ['https://ghcr.io/token']],
  ['https://ghcr.io/token', 'https://lscr.io', ['https://ghcr.io']],
  ['http://10.0.0.5/token', 'https://registry.example', ['http://10.0.0.5']],
]

test.each(allowed)('%s for %s is asked', (realm, endpoint, authRealms) => {
  expect(check(realm, endpoint, authRealms).href).toBe(new URL(realm).href)
})

const refused: readonly [what: string, realm: string | undefined, endpoint: string, authRealms?: readonly string[]][] =
  [
    ['no realm', undefined, 'https://registry.example'],
    ['no URL', 'token', 'https://registry.example'],
    ['another scheme', 'ftp://registry.example/token', 'https://registry.example'],
    ['user information', 'https://user@registry.example/token', 'https://registry.example'],
    ['another domain', 'https://evil.example/token', 'https://registry-1.docker.io'],
    ['a domain that ends alike', 'https://evildocker.io/token', 'https://registry-1.docker.io'],
    ['the domain as a label of another', 'https://docker.io.evil.example/token', 'https://registry-1.docker.io'],
    ['a public suffix in common', 'https://evil.co.uk/token', 'https://registry.co.uk'],
    ['a private suffix in common', 'https://evil.github.io/token', 'https://registry.github.io'],
    ['the suffix itself', 'https://github.io/token', 'https://registry.github.io'],
    ['less encryption', 'http://auth.docker.io/token', 'https://registry-1.docker.io'],
    ['less encryption on the same host', 'http://registry.example/token', 'https://registry.example'],
    ['loopback', 'https://127.0.0.1/token', 'https://registry.example'],
    ['loopback in disguise', 'https://0x7f.1/token', 'https://registry.example'],
    ['the cloud metadata service', 'http://169.254.169.254/token', 'http://registry.example'],
    ['another private address', 'http://10.0.0.2/token', 'http://10.0.0.1'],
    ['another loopback address', 'http://127.0.0.2:5000/token', 'http://127.0.0.1:5000'],
    ['IPv6 loopback', 'http://[::1]/token', 'http://registry.example'],
    ['localhost by name', 'http://localhost/token', 'http://127.0.0.1:5000'],
    ['another name without dots', 'http://metadata/token', 'http://registry:5000'],
    ['a name with an empty label', 'https://auth.docker.io../token', 'https://registry-1.docker.io'],
    ['an empty label within', 'https://auth..docker.io/token', 'https://registry-1.docker.io'],
    ['half a path segment', 'https://ghcr.io/tokenizer', 'https://lscr.io', ['https://ghcr.io/token']],
    ['a path that climbs', 'https://ghcr.io/token/../evil', 'https://lscr.io', ['https://ghcr.io/token']],
    ['another port than configured', 'https://ghcr.io:444/token', 'https://lscr.io', ['https://ghcr.io/token']],
    [
      'a host that continues the configured one',
      'https://ghcr.io.evil.example/',
      'https://lscr.io',
      ['https://ghcr.io'],
    ],
  ]

test.each(refused)('%s is refused', (_what, realm, endpoint, authRealms) => {
  expect(() => check(realm, endpoint, authRealms)).toThrow(expect.objectContaining({ code: 'refused' }))
})

test('no realm makes it fail otherwise, and none off the domain passes', () => {
  const realms = fc.oneof(
    fc.webUrl(),
    fc.string(),
    fc.ipV4().map((address) => `https://${address}/token`),
  )
  fc.assert(
    fc.property(realms, (realm) => {
      try {
        expect(check(realm, 'https://registry-1.docker.io').hostname).toMatch(/(?:^|\.)docker\.io\.?$/)
      } catch (error) {
        expect(error).toBeInstanceOf(UpstreamError)
      }
    }),
  )
})

test('the query of a refused realm is not repeated', () => {
  expect(() => check('https://evil.example/token?key=hidden', 'https://registry-1.docker.io')).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining('hidden') }),
  )
})
