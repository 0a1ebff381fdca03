import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseChallenges } from '../../../proxy/upstream/challenge.ts'
import { cpuTime } from '../../fixtures/cpu.ts'

const plain = (header: string | undefined) =>
  parseChallenges(header).map(({ scheme, params }) => ({ scheme, ...Object.fromEntries(params) }))

const table: readonly [what: string, header: string | undefined, expected: readonly object[]][] = [
  ['nothing', undefined, []],
  ['an empty header', '', []],
  [
    'Docker Hub',
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"',
    [
      {
        scheme: 'bearer',
        realm: 'https://auth.docker.io/token',
        service: 'registry.docker.io',
        scope: 'repository:library/alpine:pull',
      },
    ],
  ],
  [
    'a comma within quotes',
    'Bearer scope="repository:a:pull,push"',
    [{ scheme: 'bearer', scope: 'repository:a:pull,push' }],
  ],
  ['escapes', String.raw`Basic realm="a \"b\" \\c"`, [{ scheme: 'basic', realm: String.raw`a "b" \c` }]],
  [
    'unquoted values',
    'Bearer realm=https://a.example/token, service=a',
    [{ scheme: 'bearer', realm: 'https://a.example/token', service: 'a' }],
  ],
  ['spaces around =', 'Bearer realm = "r" , service= "s"', [{ scheme: 'bearer', realm: 'r', service: 's' }]],
  ['names in any case', 'BEARER Realm="r"', [{ scheme: 'bearer', realm: 'r' }]],
  [
    'two challenges',
    'Basic realm="b", Bearer realm="r",service="s"',
    [
      { scheme: 'basic', realm: 'b' },
      { scheme: 'bearer', realm: 'r', service: 's' },
    ],
  ],
  ['a scheme alone', 'Negotiate, Basic realm="b"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'b' }]],
  ['token68', 'Negotiate oYG2MIGz==, Basic realm="b"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'b' }]],
  ['a second value for a name', 'Bearer realm="right", realm="wrong"', [{ scheme: 'bearer', realm: 'right' }]],
  [
    'a quote that is not closed',
    'Bearer realm="a, Basic realm="b"',
    [{ scheme: 'bearer', realm: 'a, Basic realm=' }, { scheme: 'b' }],
  ],
]

test.each(table)('%s', (_what, header, expected) => {
  expect(plain(header)).toEqual(expected)
})

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}$/)
const quotable = fc.stringMatching(/^[\t !-~\x80-\xff]{0,20}$/)
const challenges = fc.array(
  fc.record({
    scheme: token,
    params: fc.uniqueArray(fc.tuple(token, quotable), { selector: ([name]) => name.toLowerCase() }),
  }),
  { maxLength: 4 },
)

test('what RFC 9110 allows to be written is read back', () => {
  fc.assert(
    fc.property(challenges, (written) => {
      const header = written
        .map(({ scheme, params }) =>
          `${scheme} ${params.map(([name, value]) => `${name}="${value.replace(/["\\]/g, '\\$&')}"`).join(', ')}`.trim(),
        )
        .join(', ')
      const expected = written.map(({ scheme, params }) => ({
        scheme: scheme.toLowerCase(),
        params: new Map(params.map(([name, value]) => [name.toLowerCase(), value])),
      }))
      expect(parseChallenges(header)).toEqual(expected)
    }),
  )
})

test('any text is read without failing, and in time that grows with its length only', () => {
  fc.assert(fc.property(fc.string({ maxLength: 300 }), (text) => parseChallenges(text).length <= text.length))
  const took = cpuTime(() => {
    for (const piece of ['"', '\\', 'a=', 'a ', 'a="', ',', '=', 'a=b '])
      parseChallenges(`Bearer ${piece.repeat(16_000)}`)
  })
  expect(took).toBeLessThan(2_000)
})
