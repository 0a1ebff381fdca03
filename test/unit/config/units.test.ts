import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDuration, formatShare, formatSize, parseDuration, parseShare, parseSize } from '../../../config/units.ts'

describe('sizes', () => {
  test.each([
    ['0', 0],
    ['1024', 1024],
    ['500MB', 500e6],
    ['20 GiB', 20 * 2 ** 30],
    [' 1.5 KiB ', 1536],
    ['2TiB', 2 * 2 ** 40],
  ])('%j is %d bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes))

  test.each(['', 'GiB', '-1', '1 gib', '1e3', '1..2 MB', '99999999 TiB', '1 constructor', '0x10', '1 s'])(
    '%j is refused',
    (text) => expect(parseSize(text)).toBeUndefined(),
  )

  test('what is formatted is parsed to the same', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (bytes) => parseSize(formatSize(bytes)) === bytes))
  })
})

describe('shares', () => {
  test.each([
    ['5%', 0.05],
    ['0 %', 0],
    [' 2.5 % ', 0.025],
    ['100%', 1],
  ])('%j is %d', (text, share) => expect(parseShare(text)).toBe(share))

  test.each(['', '%', '-1%', '5', '5 GiB', '1e1%', '5%%'])('%j is refused', (text) =>
    expect(parseShare(text)).toBeUndefined(),
  )

  test.each(['5%', '0%', '2.5%', '7%', '90%', '0.1%'])('%j is formatted as it was', (text) =>
    expect(formatShare(parseShare(text) ?? -1)).toBe(text),
  )
})

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['1.5 s', 1500],
    ['5m', 300_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ])('%j is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms))

  test.each(['', '5', '5 minutes', '-1s', '1M', '1 KB', 'NaNs'])('%j is refused', (text) =>
    expect(parseDuration(text)).toBeUndefined(),
  )

  test('what is formatted is parsed to the same', () => {
    fc.assert(fc.property(fc.maxSafeNat(), (ms) => parseDuration(formatDuration(ms)) === ms))
  })
})

test('any text gives a whole number or nothing', () => {
  const text = fc.oneof(fc.string(), fc.stringMatching(/^\d{1,20}(\.\d{1,5})? ?[A-Za-z]{0,3}$/))
  const isQuantity = (value: number | undefined) => value === undefined || (Number.isSafeInteger(value) && value >= 0)
  fc.assert(fc.property(text, (input) => isQuantity(parseSize(input)) && isQuantity(parseDuration(input))))
})
