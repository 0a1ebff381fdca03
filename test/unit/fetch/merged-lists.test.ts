import { expect, test } from 'vitest'
import { isWholeList, mergedReferrers, mergedTags } from '../../../daemon/fetch/merged-lists.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { maxEntries, tagsIn } from '../../../proxy/oci/known-lists.ts'

const json = (value: object) => Buffer.from(JSON.stringify(value))
const digest = digestOf(Buffer.from('one'))
const kinds = {
  tags: (isWhole: boolean, before?: Uint8Array) => mergedTags('app', json({ tags: ['1'] }), isWhole, before)?.bytes,
  referrers: (isWhole: boolean, before?: Uint8Array) =>
    mergedReferrers(json({ manifests: [{ digest }] }), isWhole, before)?.bytes,
}

test.each(Object.entries(kinds))('%s are a whole list once they were given to the end', (_, merged) => {
  const isWhole = (bytes: Uint8Array | undefined) => isWholeList(bytes ?? Buffer.from(''))
  expect(isWhole(merged(false))).toBe(false)
  expect(isWhole(merged(false, merged(false)))).toBe(false)
  expect(isWhole(merged(true))).toBe(true)
  expect(isWhole(merged(false, merged(true)))).toBe(true)
  // One of an earlier version says nothing.
  expect(isWholeList(json({ name: 'app', tags: ['1'], annotations: null }))).toBe(false)
})

test('a list that is too long to be read to its end is not whole', () => {
  const tags = Array.from({ length: maxEntries + 1 }, (_, number) => `v${number}`)
  const list = mergedTags('app', json({ tags }), true, undefined)
  if (list === undefined) throw new Error('no list')
  expect([tagsIn(list.bytes)?.length, isWholeList(list.bytes)]).toEqual([maxEntries, false])
})
