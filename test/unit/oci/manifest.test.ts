import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { manifestMediaType } from '../../../proxy/oci/manifest.ts'

const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
const ociIndex = 'application/vnd.oci.image.index.v1+json'
const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json'
const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json'

const typeOf = (manifest: unknown, claimed?: string) =>
  manifestMediaType(Buffer.from(JSON.stringify(manifest)), claimed)

describe('media type of a manifest', () => {
  it('is what the manifest says, whatever its sender says', () => {
    expect(typeOf({ schemaVersion: 2, mediaType: dockerManifest, layers: [] }, ociIndex)).toBe(dockerManifest)
    const own = 'application/vnd.example.manifest+json'
    expect(typeOf({ mediaType: own, blobs: [] })).toBe(own)
    expect(typeOf({ mediaType: own }, ociManifest)).toBe(own)
  })

  it('is what its sender says, where that fits', () => {
    expect(typeOf({ schemaVersion: 2, layers: [] }, dockerManifest)).toBe(dockerManifest)
    expect(typeOf({ schemaVersion: 2, manifests: [] }, `${dockerList}; charset=utf-8`)).toBe(dockerList)
  })

  it('is found out otherwise', () => {
    expect(typeOf({ schemaVersion: 2, layers: [] }, ociIndex)).toBe(ociManifest)
    expect(typeOf({ schemaVersion: 2, manifests: [] }, ociManifest)).toBe(ociIndex)
    expect(typeOf({ schemaVersion: 2, layers: [] }, 'text/html')).toBe(ociManifest)
    expect(typeOf({ schemaVersion: 1, fsLayers: [] })).toBe('application/vnd.docker.distribution.manifest.v1+prettyjws')
  })

  it('is that of a manifest, whatever is said', () => {
    for (const mediaType of [
      'text/html',
      'image/svg+xml',
      'application/xhtml+xml',
      'application/json',
      'x'.repeat(300),
    ]) {
      expect(typeOf({ schemaVersion: 2, mediaType, layers: [] }, mediaType)).toBe(ociManifest)
    }
    expect(typeOf({ schemaVersion: 2, layers: [] }, `application/vnd.${'x'.repeat(250)}+json`)).toBe(ociManifest)
  })

  it('does not exist for a blob that nobody calls a manifest, and that is none', () => {
    expect(typeOf({ mediaType: 'text/html', page: '<script>' })).toBeUndefined()
    expect(typeOf({ mediaType: ociManifest }, 'application/octet-stream')).toBeUndefined()
    expect(typeOf({ architecture: 'amd64', config: {}, rootfs: { type: 'layers', diff_ids: [] } })).toBeUndefined()
  })

  it('does not exist for what is no JSON object, and no header can be smuggled in', () => {
    expect(manifestMediaType(Buffer.from('<html>'), ociManifest)).toBeUndefined()
    expect(typeOf([])).toBeUndefined()
    expect(typeOf({ mediaType: 'a/b\r\nX-Evil: 1', layers: [] })).toBe(ociManifest)
    expect(typeOf({ mediaType: `application/vnd.${'a'.repeat(200)}`, layers: [] })).toBe(ociManifest)
    expect(typeOf({ mediaType: 'text/html', layers: [] }, 'text/html')).toBe(ociManifest)
    fc.assert(fc.property(fc.json(), (json) => void manifestMediaType(Buffer.from(json), undefined)))
  })
})
