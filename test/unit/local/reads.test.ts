import { expect, it } from 'vitest'
import { LocalReads, type NamedElsewhere } from '../../../daemon/local/reads.ts'
import { someDigest } from '../../fixtures/names.ts'

const subject = someDigest('image')
const digests = Array.from({ length: 70 }, (_, index) => someDigest(`signature ${index}`)).toSorted()

/** Lists referrers of which peers have the manifests. */
async function referrers(manifest: NamedElsewhere['manifest']) {
  const store = { openUntouched: async () => undefined }
  const elsewhere: NamedElsewhere = {
    tags: () => [],
    referrers: () => digests.map((digest) => [digest, { mediaType: 'a/b', size: 2, subject }] as const),
    manifest,
  }
  const reads = new LocalReads(store as never, { get: () => undefined } as never, elsewhere)
  const repository = { registry: 'localhost', name: 'app' }
  const { signal } = new AbortController()
  const { body } = await reads.list({ repository, resource: `referrers/${subject}`, query: '', signal })
  return JSON.parse(Buffer.from(body).toString()).manifests as { digest: string; annotations?: object }[]
}

it('a list of referrers waits for manifests that peers have once, however many do not come', async () => {
  let asked = 0
  const started = performance.now()
  const listed = await referrers(async (_name, _digest, signal) => {
    asked++
    if (asked % 2 === 0) return Buffer.from('{"annotations":{"by":"a peer"}}')
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    return undefined
  })
  expect(listed.map(({ digest }) => digest)).toEqual(digests)
  expect(listed.filter(({ annotations }) => annotations !== undefined).length).toBeGreaterThan(0)
  // One after the other it would be more than a minute.
  expect(performance.now() - started).toBeLessThan(30_000)
})

it('a list of referrers has all annotations where they come', async () => {
  const listed = await referrers(async () => Buffer.from('{"annotations":{"by":"a peer"}}'))
  expect(listed).toHaveLength(digests.length)
  expect(listed.every(({ annotations }) => annotations !== undefined)).toBe(true)
})
