import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nextLink } from '../../../proxy/oci/link.ts'
import { cpuTime } from '../../fixtures/cpu.ts'

test.each([
  ['</v2/a/tags/list?last=b>; rel="next"', '/v2/a/tags/list?last=b'],
  ['</a?b=1>; rel=next', '/a?b=1'],
  ["</a?b=1>; rel='next'", '/a?b=1'],
  ['</a?b=1>;REL="Next"', '/a?b=1'],
  ['</a?b=1>; rel="last next"', '/a?b=1'],
  ['</a?b=1>; title="a, b; rel=prev"; rel="next"', '/a?b=1'],
  ['</p>; rel="prev", </n?x=,;y>; rel="next"', '/n?x=,;y'],
  ['</a?b=1>', '/a?b=1'],
  ['/a?b=1; rel="next"', '/a?b=1'],
  ['https://r.example/a?b=1; rel="next"', 'https://r.example/a?b=1'],
  ['<?last=b>; rel="next"', '?last=b'],
  ['</a>; rel="prev"', undefined],
  ['</a>, </b>', undefined],
  ['</a>; rel="ne\\xt"', '/a'],
  ['nonsense', undefined],
  ['', undefined],
  [undefined, undefined],
])('%s leads to %s', (header, target) => {
  expect(nextLink(header)).toBe(target)
})

test('reads anything in little time', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'<>;,="\'\\ /?relnxt'), maxLength: 200 }),
      (text) => void nextLink(text),
    ),
  )
  const took = cpuTime(() => {
    nextLink(`<${'<'.repeat(50_000)}`)
    nextLink(`</a>${'; a="'.repeat(10_000)}`)
  })
  expect(took).toBeLessThan(1_000)
})
