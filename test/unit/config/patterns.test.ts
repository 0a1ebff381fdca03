import fc from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import {
  repositoryMatcher,
  repositoryPatternMistake,
  tagMatcher,
  tagPatternMistake,
  tagValues,
} from '../../../config/patterns.ts'
import { cpuTime } from '../../fixtures/cpu.ts'

const matches = (list: readonly string[], repository: string) => repositoryMatcher(list)(repository)

describe('a pattern of repositories', () => {
  it.each([
    ['docker.io/library/alpine', 'docker.io/library/alpine', true],
    ['docker.io/library/alpine', 'docker.io/library/alpine2', false],
    ['docker.io/library/alpine', 'docker.io/library/alpine/x', false],
    ['docker.io/library/*', 'docker.io/library/alpine', true],
    ['docker.io/*/alpine', 'docker.io/library/alpine', true],
    ['docker.io/lib*', 'docker.io/library/alpine', false],
    ['docker.io/library/a*e', 'docker.io/library/alpine', true],
    ['docker.io/library/a*n', 'docker.io/library/alpine', false],
    ['docker.io/**', 'docker.io/library/alpine', true],
    ['docker.io/**', 'docker.io.evil.example/library/alpine', false],
    ['docker.io/**/alpine', 'docker.io/alpine', true],
    ['a.example/team/**', 'a.example/team', true],
    ['a.example/team/**', 'a.example/team/x/y', true],
    ['a.example/team/**', 'a.example/teams/x', false],
    ['*.example/x', 'a.example/x', true],
    ['*.example/x', 'a.example/y/x', false],
    ['a.example:5000/x', 'a.example:5000/x', true],
    ['a.example/x', 'a.example:5000/x', false],
    ['a.example:*/x', 'a.example:5000/x', true],
    ['**', 'docker.io/library/alpine', true],
    ['**/private/*', 'ghcr.io/me/private/x', true],
    ['**/private/**', 'ghcr.io/private', true],
    ['**/a/**/b', 'r.io/x/a/a/c/b', true],
    ['**/a/**/b', 'r.io/x/b/c/a', false],
    // Characters that mean something in regular expressions.
    ['a.example/x', 'a-example/x', false],
    ['[::1]:5000/x', '[::1]:5000/x', true],
    ['[::1]:5000/x', ':/x', false],
  ])('%s on %s: %s', (pattern, repository, expected) => {
    expect(matches([pattern], repository)).toBe(expected)
  })

  it('takes out what an earlier one matched; the last one that fits decides', () => {
    const list = ['ghcr.io/**', '!ghcr.io/team/**', 'ghcr.io/team/secret']
    expect(matches(list, 'ghcr.io/x')).toBe(true)
    expect(matches(list, 'ghcr.io/team/x')).toBe(false)
    expect(matches(list, 'ghcr.io/team/secret')).toBe(true)
    expect(matches(list.toReversed(), 'ghcr.io/team/secret')).toBe(true)
    expect(matches(['!ghcr.io/**'], 'ghcr.io/x')).toBe(false)
    expect(matches([], 'ghcr.io/x')).toBe(false)
  })

  it.each([
    ['', /^a pattern registry\/repository such as/],
    ['docker.io', /^a pattern registry\/repository/],
    ['docker.io/', /in lower case and without a tag$/],
    ['docker.io//x', /in lower case and without a tag$/],
    ['/x', /in lower case/],
    ['docker.io/library/Alpine', /in lower case/],
    ['docker.io/library/alpine:latest', /without a tag/],
    ['docker.io/library/al pine', /in lower case/],
    ['https://docker.io/library/x', /in lower case/],
    ['docker.io/library/a**', /^"\*\*" as a segment of its own/],
    ['!', /^a pattern registry\/repository/],
    ['!!docker.io/**', /in lower case/],
    ['docker.io/alpine', /^"docker.io\/library\/alpine" or "docker.io\/\*\*"/],
    ['docker.io/*', /^"docker.io\/library\/\*" or/],
    ['index.docker.io/library/x', /^"docker.io", which is what references call/],
    [`docker.io/${'a/'.repeat(400)}a`, /^at most 640 characters/],
  ])('that reads "%.40s" is refused', (pattern, message) => {
    expect(repositoryPatternMistake(pattern)).toMatch(message)
  })

  it.each(['**', '!**', 'docker.io/**', '*/**', '**/x', '*.example.com:5000/a__b/*-x', '[::1]:5000/x', 'localhost/x'])(
    'that reads "%s" is right',
    (pattern) => expect(repositoryPatternMistake(pattern)).toBeUndefined(),
  )
})

describe('a pattern of tags', () => {
  const isListed = (list: readonly string[], repository: string, tag: string) => tagMatcher(list)(repository, tag)

  it.each([
    ['latest', 'docker.io/library/x', 'latest', true],
    ['latest', 'docker.io/library/x', 'Latest', false],
    ['v*.*.*', 'docker.io/library/x', 'v1.2.3', true],
    ['v*.*.*', 'docker.io/library/x', 'v1.2.3-rc.1', true],
    ['v*.*.*', 'docker.io/library/x', 'v1.2', false],
    ['*', 'a.example:5000/x', 'anything', true],
    ['a.example:5000/team/**:v*', 'a.example:5000/team/x/y', 'v1', true],
    ['a.example:5000/team/**:v*', 'a.example:5000/team/x/y', 'w1', false],
    ['a.example:5000/team/**:v*', 'a.example:5000/other/x', 'v1', false],
    ['**:v1', 'docker.io/library/x', 'v1', true],
  ])('%s on %s:%s: %s', (pattern, repository, tag, expected) => {
    expect(isListed([pattern], repository, tag)).toBe(expected)
  })

  it('can be taken out again', () => {
    const list = ['v*', '!v*-rc*']
    expect(isListed(list, 'a.b/c', 'v1')).toBe(true)
    expect(isListed(list, 'a.b/c', 'v1-rc1')).toBe(false)
    expect(isListed([], 'a.b/c', 'v1')).toBe(false)
  })

  it('gives a value; the last one that fits decides', () => {
    const values = tagValues([
      { pattern: '*', value: 1 },
      { pattern: 'a.b/**:*', value: 2 },
      { pattern: 'v*', value: 3 },
    ])
    expect([values('x.y/z', 'w'), values('a.b/z', 'w'), values('a.b/z', 'v')]).toEqual([1, 2, 3])
    expect(tagValues([{ pattern: 'v', value: 1 }])('a.b/c', 'w')).toBeUndefined()
  })

  it.each([
    ['', /^a pattern of tags such as/],
    ['a.example/team/app', /^a pattern of tags/],
    ['a.example:5000/team/app', /^a pattern of tags/],
    ['a.example/team/app:', /^a pattern of tags/],
    ['v1 2', /^a pattern of tags/],
    [':v1', /^a pattern registry\/repository/],
    ['docker.io/alpine:v1', /^"docker.io\/library\/alpine"/],
    ['localhost:5000', /^a pattern registry\/repository/],
    ['v'.repeat(641), /^at most 640/],
  ])('that reads "%.40s" is refused', (pattern, message) => {
    expect(tagPatternMistake(pattern)).toMatch(message)
  })
})

describe('patterns of any form', () => {
  const segment = fc.string({ unit: fc.constantFrom('a', 'b', '.', '-'), minLength: 1, maxLength: 5 })
  const repository = fc.array(segment, { minLength: 2, maxLength: 5 }).map((parts) => parts.join('/'))
  const patternSegment = fc.oneof(
    { weight: 1, arbitrary: fc.constant('**') },
    {
      weight: 3,
      arbitrary: fc
        .array(fc.constantFrom('a', 'b', '.', '*'), { minLength: 1, maxLength: 5 })
        .map((parts) => parts.join('').replaceAll(/\*+/g, '*')),
    },
  )
  const pattern = fc.array(patternSegment, { minLength: 2, maxLength: 5 }).map((parts) => parts.join('/'))

  /** The same by regular expressions, which may take exponential time. */
  const expressionOf = (text: string) => {
    const segments = text.split('/').map((part) => {
      if (part === '**') return '(?:/[^/]+)*'
      return `/${part.replaceAll(/[.\-[\]]/g, '\\$&').replaceAll('*', '[^/]*')}`
    })
    return new RegExp(`^${segments.join('')}$`)
  }

  test('match as regular expressions do', () => {
    let matched = 0
    fc.assert(
      fc.property(pattern, repository, (text, name) => {
        const isMatch = matches([text], name)
        if (isMatch) matched++
        expect(isMatch).toBe(expressionOf(text).test(`/${name}`))
      }),
      { numRuns: 3000 },
    )
    expect(matched).toBeGreaterThan(100)
  })

  test('match what they were made of, and what is put in place of their wildcards', () => {
    fc.assert(
      fc.property(pattern, fc.array(segment, { maxLength: 3 }), segment, (text, many, one) => {
        const filled = text
          .split('/')
          .flatMap((part) => (part === '**' ? many : [part.replaceAll('*', one)]))
          .join('/')
        expect(matches([text], filled)).toBe(true)
        expect(matches([text, `!${filled}`], filled)).toBe(false)
      }),
    )
  })

  test('that pass the check match no other registry than they name', () => {
    fc.assert(
      fc.property(repository, repository, (text, name) => {
        if (repositoryPatternMistake(text) !== undefined) return
        expect(matches([text], name)).toBe(text === name)
      }),
    )
  })
})

test('a hostile name takes no longer than a harmless one of its length', () => {
  const long = 'a'.repeat(255)
  const deep = `r.io/${'a/'.repeat(125)}b`
  const list = [
    `r.io/${'*a'.repeat(120)}*b`,
    `r.io/${'**/a/'.repeat(60)}c`,
    `r.io/${'**/*a*/'.repeat(40)}*c`,
    `**/${'a*'.repeat(100)}c/**`,
  ]
  const tags = tagMatcher([`${'*a'.repeat(60)}*b`, `${'*'.repeat(120)}b`])
  const isListed = repositoryMatcher(list)
  const took = cpuTime(() => {
    for (let time = 0; time < 20; time++) {
      expect([isListed(`r.io/${long}`), isListed(deep), tags('r.io/x', 'a'.repeat(128))]).toEqual([false, false, false])
    }
  })
  // Some 60,000 comparisons each; a pattern that goes back to every wildcard takes longer than the universe has had.
  expect(took).toBeLessThan(5_000)
})
