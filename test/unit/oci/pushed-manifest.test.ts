import { expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { readPushedManifest } from '../../../proxy/oci/pushed-manifest.ts'

const digest = digestOf(Buffer.from('config'))
const artifactTypeOf = (artifactType: unknown, configType: unknown) => {
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const config = { digest, size: 6, mediaType: configType }
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [], artifactType }))
  return readPushedManifest(bytes, undefined).artifactType
}

it.each<[unknown, unknown, string | undefined]>([
  ['example/sbom', 'example/config', 'example/sbom'],
  [undefined, 'example/config', 'example/config'],
  ['sbom', undefined, 'sbom'],
  // None of these is a media type, and what peers would take for no record of an image.
  ['', 'example/config', 'example/config'],
  ['', '', undefined],
  ['a/é', undefined, undefined],
  ['a/b\n', undefined, undefined],
  [`a/${'b'.repeat(254)}`, undefined, undefined],
  [7, null, undefined],
])('an artifact of type %j with a configuration of %j is one of type %j', (artifactType, configType, expected) => {
  expect(artifactTypeOf(artifactType, configType)).toBe(expected)
})
