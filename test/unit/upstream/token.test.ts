import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseToken } from '../../../proxy/upstream/token.ts'

const requestedAt = Date.parse('2026-01-01T12:00:00Z')

/** How long the token of an answer is used, in s. */
const lifetime = (answer: object) =>
  ((parseToken(JSON.stringify(answer), requestedAt)?.expiresAt ?? 0) - requestedAt) / 1000

const lifetimes: readonly [what: string, answer: object, seconds: number][] = [
  ['nothing said: 60 s, less 10', { token: 't' }, 50],
  ['expires_in, less 10', { token: 't', expires_in: 300 }, 290],
  ['a short life: a fifth less', { token: 't', expires_in: 5 }, 4],
  ['a long life: an hour at most', { token: 't', expires_in: 86_400 }, 3_600],
  ['a life of nothing', { token: 't', expires_in: 0 }, 50],
  ['a negative life', { token: 't', expires_in: -5 }, 50],
  ['a life in words', { token: 't', expires_in: '300' }, 50],
  ['issued a minute ago', { token: 't', expires_in: 300, issued_at: '2026-01-01T11:59:00Z' }, 230],
  ['issued in the future', { token: 't', expires_in: 300, issued_at: '2026-01-01T13:00:00Z' }, 290],
  ['issued longer ago than it lives', { token: 't', expires_in: 300, issued_at: '2025-01-01T00:00:00Z' }, 290],
  ['issued in words', { token: 't', expires_in: 300, issued_at: 'today' }, 290],
]

test.each(lifetimes)('%s', (_what, answer, seconds) => {
  expect(lifetime(answer)).toBe(seconds)
})

const values: readonly [answer: unknown, value: string | undefined][] = [
  [{ token: 'a', access_token: 'b' }, 'a'],
  [{ access_token: 'b' }, 'b'],
  [{ token: '', access_token: 'b' }, 'b'],
  [{ token: 7 }, undefined],
  [{ token: 'a\r\nHost: evil' }, undefined],
  [{ token: 'a b' }, undefined],
  [{}, undefined],
  [null, undefined],
  [[], undefined],
  ['token', undefined],
]

test.each(values)('%j gives %s', (answer, value) => {
  expect(parseToken(JSON.stringify(answer), requestedAt)?.value).toBe(value)
})

test('an answer that is no JSON gives none', () => {
  expect(parseToken('<html>', requestedAt)).toBeUndefined()
})

test('a token is used for some time, and never for longer than it lives', () => {
  const answers = fc.record({
    token: fc.constant('t'),
    expires_in: fc.double({ min: 1, max: 1e6, noNaN: true }),
    issued_at: fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  })
  fc.assert(
    fc.property(answers, (answer) => {
      expect(lifetime(answer)).toBeGreaterThan(0)
      expect(lifetime(answer)).toBeLessThan(answer.expires_in)
    }),
  )
})
