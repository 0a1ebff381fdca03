import { describe, expect, it } from 'vitest'
import { parseReference } from '../../../proxy/oci/reference.ts'

const digest = `sha256:${'a'.repeat(64)}`

describe('a reference', () => {
  it.each([
    ['alpine', undefined, 'alpine', undefined, undefined],
    ['alpine:3.20', undefined, 'alpine', '3.20', undefined],
    ['team/app:1', undefined, 'team/app', '1', undefined],
    ['localhost/app', 'localhost', 'app', undefined, undefined],
    ['localhost:5050/app:1', 'localhost:5050', 'app', '1', undefined],
    ['GHCR.io/team/app', 'ghcr.io', 'team/app', undefined, undefined],
    ['index.docker.io/library/alpine', 'docker.io', 'library/alpine', undefined, undefined],
    ['127.0.0.1:5050/a/b/c', '127.0.0.1:5050', 'a/b/c', undefined, undefined],
    [`app@${digest}`, undefined, 'app', undefined, digest],
    [`ghcr.io/app:1@${digest}`, 'ghcr.io', 'app', '1', digest],
  ])('%s', (text, registry, name, tag, digest) => {
    expect(parseReference(text)).toEqual({ registry, name, tag, digest })
  })

  it.each([
    ['', /"" is not a repository name/],
    ['App', /"App" is not a repository name/],
    ['app:', /"" is not a tag/],
    ['app:-x', /"-x" is not a tag/],
    [`app:${'t'.repeat(129)}`, /not a tag/],
    ['app@sha256:12', /not a digest/],
    ['a//b', /not a repository name/],
    ['../etc/passwd', /not a repository name/],
    ['localhost:5050/', /not a repository name/],
  ])('%j is none', (text, message) => {
    expect(() => parseReference(text)).toThrow(message)
  })
})
