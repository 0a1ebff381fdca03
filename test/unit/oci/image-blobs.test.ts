import { expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { describedSizes, imageBlobs, MAX_IMAGE_BLOBS, manifestContents } from '../../../proxy/oci/image-blobs.ts'

const blob = (name: string) => digestOf(Buffer.from(name))
const of = (manifest: unknown) => imageBlobs(Buffer.from(JSON.stringify(manifest)))

it('names the configuration and the layers of an image, each once', () => {
  const config = { digest: blob('config'), size: 1 }
  const layers = ['a', 'b', 'a'].map((name) => ({ digest: blob(name), size: 1 }))
  expect(of({ schemaVersion: 2, config, layers })).toEqual([blob('config'), blob('a'), blob('b')])
  expect(of({ schemaVersion: 2, layers })).toEqual([blob('a'), blob('b')])
})

it.each([
  ['an index', { manifests: [{ digest: blob('a'), size: 1 }] }],
  ['a layer that is to be had elsewhere', { layers: [{ digest: blob('a'), size: 1, urls: ['https://a.b/c'] }] }],
  ['no list', { config: 'x', layers: { digest: blob('a') } }],
  ['no descriptors', { config: null, layers: [null, 1, 'x', [], {}, { digest: 1 }, { digest: 'sha256:x' }] }],
  ['no object', [blob('a')]],
  ['null', null],
])('names nothing of %s', (_what, manifest) => {
  expect(of(manifest)).toEqual([])
})

it('names nothing of what is no JSON, or longer than the manifest of any image', () => {
  expect(imageBlobs(Buffer.from('{"layers":'))).toEqual([])
  const manifest = { layers: [{ digest: blob('a') }] }
  expect(of({ ...manifest, annotations: { a: ' '.repeat(1_000_000) } })).toEqual([blob('a')])
  expect(of({ ...manifest, annotations: { a: ' '.repeat(1_100_000) } })).toEqual([])
})

it('names so many of a manifest as images have, and no more', () => {
  const layers = Array.from({ length: MAX_IMAGE_BLOBS + 1 }, (_, index) => ({ digest: blob(`${index}`) }))
  expect(of({ layers })).toEqual(layers.slice(0, MAX_IMAGE_BLOBS).map(({ digest }) => digest))
})

it('what a manifest says of sizes is read, of an index as well, and nothing else', () => {
  const digest = (name: string) => digestOf(Buffer.from(name))
  const sizesOf = (manifest: unknown) => [...describedSizes(Buffer.from(JSON.stringify(manifest)))]
  const config = { digest: digest('config'), size: 7 }
  const layers = [
    { digest: digest('layer'), size: 2 ** 40 },
    { digest: digest('none') },
    { digest: 'odd', size: 1 },
    null,
  ]
  expect(sizesOf({ config, layers })).toEqual([
    [config.digest, 7],
    [digest('layer'), 2 ** 40],
  ])
  expect(
    sizesOf({ manifests: [config, { digest: digest('a'), size: -1 }, { digest: digest('b'), size: 1.5 }] }),
  ).toEqual([[config.digest, 7]])
  expect([sizesOf([]), sizesOf({ layers: {} }), [...describedSizes(Buffer.from('{'))]]).toEqual([[], [], []])
})

it('what a manifest consists of is told by its kind, without what is to be had elsewhere or has no size', () => {
  const part = (name: string) => ({ digest: blob(name), size: name.length })
  const contentsOf = (manifest: unknown) => manifestContents(Buffer.from(JSON.stringify(manifest)))
  const elsewhere = { ...part('foreign'), urls: ['https://a.b/c'] }
  const layers = [part('a'), elsewhere, part('b'), part('a'), { digest: blob('c') }, { ...part('d'), size: -1 }, null]
  const image = { config: part('config'), layers }
  expect(contentsOf(image)).toEqual({ config: [part('config')], layers: [part('a'), part('b')], manifests: [] })
  expect(contentsOf({ blobs: [part('file')] })).toEqual({ config: [], layers: [part('file')], manifests: [] })
  expect(contentsOf({ manifests: [part('m')] })).toEqual({ config: [], layers: [], manifests: [part('m')] })
  for (const none of [null, [], 'x', { layers: 'x', config: [] }]) {
    expect(contentsOf(none)).toEqual({ config: [], layers: [], manifests: [] })
  }
  expect(manifestContents(Buffer.from('{'))).toEqual({ config: [], layers: [], manifests: [] })
})
