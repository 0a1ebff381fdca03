import { expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { referrerOf, referrersIn, subjectOf, tagsIn } from '../../../proxy/oci/known-lists.ts'
import { isListName, listReference } from '../../../proxy/oci/name.ts'

const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const digest = digestOf(Buffer.from('a'))

it('tags are read of a list, and nothing that is none', () => {
  expect(tagsIn(json({ name: 'a', tags: ['1', 'b', '', '-c', 2, null] }))).toEqual(['1', 'b'])
  expect(tagsIn(json({ name: 'a', tags: null }))).toEqual([])
  for (const none of [json({}), json({ tags: 'x' }), json([]), json(null), Buffer.from('{')])
    expect(tagsIn(none)).toBeUndefined()
})

it('referrers are read of an index, as they are described there', () => {
  const referrer = { digest, size: 1, artifactType: 'a/b', annotations: { x: 'y' } }
  expect(referrersIn(json({ manifests: [referrer, { digest: 'x' }, null, 1] }))).toEqual([referrer])
  expect(referrersIn(json({ manifests: null }))).toEqual([])
  for (const none of [json({}), json({ manifests: {} }), Buffer.from('')]) expect(referrersIn(none)).toBeUndefined()
})

it('a manifest says what it refers to, and is described as a registry does', () => {
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const config = { mediaType: 'application/vnd.of.config', digest }
  const manifest = json({ config, layers: [], subject: { digest }, annotations: { x: 'y' } })
  expect(subjectOf(manifest)).toBe(digest)
  expect(referrerOf(digest, manifest, type)).toEqual({
    mediaType: type,
    digest,
    size: manifest.length,
    artifactType: 'application/vnd.of.config',
    annotations: { x: 'y' },
  })
  expect(referrerOf(digest, json({ artifactType: 'a/b', config, layers: [] }), type).artifactType).toBe('a/b')
  for (const none of [{}, { subject: null }, { subject: { digest: 'x' } }, []])
    expect(subjectOf(json(none))).toBeUndefined()
})

it('a list has a name that no tag has', () => {
  const repository = { registry: 'docker.io', name: 'library/app' }
  const hex = digest.slice('sha256:'.length)
  expect(listReference(repository, 'tags/list')).toBe('docker.io/library/app:tags/list')
  expect(listReference(repository, `referrers/${digest}`)).toBe(`docker.io/library/app:referrers/sha256-${hex}`)
  for (const name of ['tags/list', `referrers/sha256-${hex}`]) expect(isListName(name)).toBe(true)
  for (const name of ['tags', 'latest', `sha256-${hex}`, 'referrers/sha256-abc', 'tags/list/x']) {
    expect(isListName(name)).toBe(false)
  }
})
