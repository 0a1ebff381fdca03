import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRepository } from '../../../proxy/routes/addressing.ts'

const known = new Set(['docker.io', 'ghcr.io', 'registry.example.com:5000'])

describe('addressing', () => {
  it.each([
    ['alpine', undefined, 'docker.io', 'library/alpine'],
    ['me/app', undefined, 'docker.io', 'me/app'],
    ['alpine', 'docker.io', 'docker.io', 'library/alpine'],
    ['library/alpine', 'index.docker.io', 'docker.io', 'library/alpine'],
    ['me/app', 'ghcr.io', 'ghcr.io', 'me/app'],
    ['ghcr.io/me/app', undefined, 'ghcr.io', 'me/app'],
    ['docker.io/alpine', undefined, 'docker.io', 'library/alpine'],
    ['registry-1.docker.io/library/alpine', undefined, 'docker.io', 'library/alpine'],
    ['docker.io/library/alpine', 'docker.io', 'docker.io', 'library/alpine'],
    ['app', 'registry.example.com:5000', 'registry.example.com:5000', 'app'],
    ['ghcr.io/me/app', 'docker.io', 'docker.io', 'ghcr.io/me/app'],
    ['docker.io/library/alpine', 'ghcr.io', 'ghcr.io', 'docker.io/library/alpine'],
    ['me/app', 'ghcr.io:443', 'ghcr.io', 'me/app'],
    ['me/app', 'ghcr.io.', 'ghcr.io', 'me/app'],
    ['ghcr.io:443/me/app', undefined, 'ghcr.io', 'me/app'],
    ['GHCR.io./me/app', 'ghcr.io:443', 'ghcr.io', 'me/app'],
    ['docker.io./alpine', undefined, 'docker.io', 'library/alpine'],
    ['registry.example.com:5000/app', undefined, 'registry.example.com:5000', 'app'],
  ])('%s with ns %s is %s %s', (path, namespace, registry, name) => {
    expect(parseRepository(path, namespace, known)).toEqual({ registry, name })
  })

  it.each([
    ['me/app', 'quay.io', 'NAME_UNKNOWN', 404],
    ['quay.io/me/app', undefined, 'NAME_UNKNOWN', 404],
    ['me/app', 'http://169.254.169.254', 'NAME_UNKNOWN', 404],
    ['library%2Falpine', undefined, 'NAME_INVALID', 400],
    ['%2e%2e/alpine', undefined, 'NAME_INVALID', 400],
    ['../alpine', undefined, 'NAME_INVALID', 400],
    ['ghcr.io/../alpine', undefined, 'NAME_INVALID', 400],
    ['ghcr.io/', undefined, 'NAME_INVALID', 400],
    ['Alpine', undefined, 'NAME_INVALID', 400],
  ])('%s with ns %s is refused with %s', (path, namespace, code, status) => {
    expect(() => parseRepository(path, namespace, known)).toThrow(expect.objectContaining({ code, status }))
  })

  it('never gives a registry outside the list', () => {
    fc.assert(
      fc.property(fc.string(), fc.option(fc.string(), { nil: undefined }), (path, namespace) => {
        try {
          expect(known).toContain(parseRepository(path, namespace, known).registry)
        } catch (error) {
          expect(['NAME_INVALID', 'NAME_UNKNOWN']).toContain((error as { code: string }).code)
        }
      }),
    )
  })
})
