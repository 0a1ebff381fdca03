import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  canonicalRegistry,
  canonicalRepository,
  isRegistryName,
  parseRepositoryName,
  parseTag,
} from '../../../proxy/oci/name.ts'
import { cpuTime } from '../../fixtures/cpu.ts'

describe('repository name', () => {
  it.each(['a', 'library/alpine', 'a/b/c/d', 'foo__bar', 'foo---bar', 'a.b_c-d/0', '0'])('takes %s', (name) => {
    expect(parseRepositoryName(name)).toBe(name)
  })

  it.each(['', '/', 'a/', '/a', 'a//b', '..', 'a/../b', 'A', 'a___b', 'a..b', '-a', 'a-', 'a b', 'a%2fb', 'a\n', 'ä'])(
    'refuses %j',
    (name) => {
      expect(() => parseRepositoryName(name)).toThrow(expect.objectContaining({ code: 'NAME_INVALID', status: 400 }))
    },
  )

  it('refuses a long name by its length, and quickly', () => {
    expect(() => parseRepositoryName('a'.repeat(256))).toThrow(/256 characters/)
    const took = cpuTime(() => expect(() => parseRepositoryName(`${'a-'.repeat(127)}!`)).toThrow())
    expect(took).toBeLessThan(1_000)
  })

  it('never takes what could leave a folder', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        let name: string
        try {
          name = parseRepositoryName(text)
        } catch {
          return
        }
        expect(name.split('/')).not.toContain('..')
        expect(name).toMatch(/^[a-z0-9._/-]+$/)
      }),
    )
  })
})

describe('tag', () => {
  it.each(['latest', 'v1.2.3', '_a', 'A-b.C', 'x'.repeat(128)])('takes %s', (tag) => {
    expect(parseTag(tag)).toBe(tag)
  })

  it.each(['', '.a', '-a', 'a:b', 'a/b', 'x'.repeat(129), 'a b', 'ü'])('refuses %j', (tag) => {
    expect(() => parseTag(tag)).toThrow(expect.objectContaining({ code: 'MANIFEST_UNKNOWN', status: 404 }))
  })
})

describe('registry name', () => {
  it.each([
    'docker.io',
    'localhost',
    'localhost:5000',
    'registry:5000',
    'a-b.example.com:443',
    '127.0.0.1:5000',
    '[::1]:80',
  ])('knows %s', (name) => {
    expect(isRegistryName(name)).toBe(true)
  })

  it.each([
    '',
    'library',
    'foo_bar',
    'foo.',
    '.foo',
    'docker.io/x',
    'a..b',
    'docker.io:',
    'docker.io:123456',
    'http://x.y',
  ])('does not take %j for one', (name) => {
    expect(isRegistryName(name)).toBe(false)
  })

  it.each([
    ['ghcr.io:443', 'ghcr.io'],
    ['ghcr.io.', 'ghcr.io'],
    ['GHCR.io.:443', 'ghcr.io'],
    ['ghcr.io.:5000', 'ghcr.io:5000'],
    ['ghcr.io:80', 'ghcr.io:80'],
    ['ghcr.io:4430', 'ghcr.io:4430'],
    ['index.docker.io.:443', 'docker.io'],
    ['localhost:443', 'localhost'],
    ['[::1]:443', '[::1]'],
    // Without its port it would be a part of a repository's name.
    ['registry:443', 'registry:443'],
    ['registry.:443', 'registry:443'],
    ['ghcr.io..', 'ghcr.io..'],
    ['.', '.'],
    ['', ''],
  ])('%j is called %j', (name, canonical) => {
    expect(canonicalRegistry(name)).toBe(canonical)
    expect(canonicalRegistry(canonical)).toBe(canonical)
  })

  it('is found quickly, however long the text is', () => {
    const took = cpuTime(() => {
      for (const text of ['.'.repeat(100_000), `${'a.'.repeat(50_000)}:4430`]) canonicalRegistry(text)
    })
    expect(took).toBeLessThan(1_000)
  })

  it('has one name for Docker Hub', () => {
    expect(['docker.io', 'index.docker.io', 'registry-1.docker.io', 'Docker.IO'].map(canonicalRegistry)).toEqual(
      Array(4).fill('docker.io'),
    )
    expect(canonicalRepository('docker.io', 'alpine')).toBe('library/alpine')
    expect(canonicalRepository('docker.io', 'me/alpine')).toBe('me/alpine')
    expect(canonicalRepository('ghcr.io', 'alpine')).toBe('alpine')
  })
})
