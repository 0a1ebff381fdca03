import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isSignedTag } from '../../../../daemon/share/signed-tag.ts'
import { createCertificate, fingerprintOf } from '../../../../daemon/swarm/transfer/certificate.ts'
import { MAX_TAG_BYTES } from '../../../../daemon/swarm/transfer/constants.ts'
import {
  blobPath,
  decodeConfirmation,
  encodeConfirmation,
  parsePath,
  tagPath,
} from '../../../../daemon/swarm/transfer/messages.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { signedTag } from '../../../fixtures/tags.ts'

const digest = digestOf(Buffer.from('x'))

describe('a path', () => {
  test('is read as it was written', () => {
    const long = digestOf(Buffer.from('x'), 'sha512')
    for (const asked of [digest, long]) expect(parsePath(blobPath(asked))).toEqual({ kind: 'blob', digest: asked })
    for (const reference of ['docker.io/library/alpine:3.20', 'localhost:5000/a/b-c:V_1.x', '[::1]:5000/a:b']) {
      expect(parsePath(tagPath(reference))).toEqual({ kind: 'tag', reference })
    }
  })

  test('that is any other text is undefined, and never throws', () => {
    fc.assert(fc.property(fc.string(), (text) => parsePath(text) === undefined))
    fc.assert(fc.property(fc.webPath(), (text) => parsePath(`/tags${text}`) === undefined))
  })

  test.each([
    '/blobs/',
    `/blobs/${digest}/`,
    `/blobs/${digest}?x=1`,
    `//blobs/${digest}`,
    `/BLOBS/${digest}`,
    `/blobs/${digest.toUpperCase()}`,
    '/tags/docker.io/library/alpine:3.20',
    '/tags/docker.io%2Flibrary%2Falpine',
    '/tags/docker.io%2F..%2Falpine:1',
    '/tags/docker.io%2Falpine%00:1',
    '/tags/alpine:1',
    '/tags/alpine:11',
    `/tags/docker.io%2Fa:${'t'.repeat(129)}`,
  ])('"%s" is undefined', (path) => {
    expect(parsePath(path)).toBeUndefined()
  })
})

describe('a tag answer', () => {
  const reference = 'docker.io/library/alpine:3.20'
  const mediaType = 'application/vnd.oci.image.index.v1+json'
  const said = signedTag(reference, { digest, mediaType, confirmedAt: 1_000_000, at: 5_000 })

  test('is as old for who reads it as for who wrote it, whatever their clocks say', () => {
    const text = encodeConfirmation(said, 1_000_700)
    expect(decodeConfirmation(text, 2_000_000)).toEqual({ ...said, confirmedAt: 1_999_300 })
    expect(decodeConfirmation(text, 500_000)).toEqual({ ...said, confirmedAt: 499_300 })
  })

  test('from the future of who wrote it is from now', () => {
    const text = encodeConfirmation(said, 900_000)
    expect(decodeConfirmation(text, 2_000_000)).toEqual({ ...said, confirmedAt: 2_000_000 })
  })

  test('is signed still when it was read, with the longest media type, or none', () => {
    for (const type of [`${'a'.repeat(127)}/${'b'.repeat(127)}`, undefined]) {
      const confirmedAt = Date.now()
      const long = digestOf(Buffer.from('x'), 'sha512')
      const one = signedTag(reference, { digest: long, confirmedAt, ...(type && { mediaType: type }) })
      const text = encodeConfirmation(one, Date.now())
      expect(text.length).toBeLessThan(MAX_TAG_BYTES)
      expect(isSignedTag(reference, decodeConfirmation(text, Date.now()))).toBe(true)
    }
  })

  const right = { digest, at: 1, ageMs: 1, signer: said.signer, signature: 'A'.repeat(86).concat('==') }
  expect(() => decodeConfirmation(JSON.stringify(right), Date.now())).not.toThrow()
  test.each<readonly [string, string]>([
    ['no JSON', 'x'],
    ['null', 'null'],
    ...(
      [
        ['no digest', { digest: undefined }],
        ['a malformed digest', { digest: 'sha256:x' }],
        ['an age that is text', { ageMs: '1' }],
        ['an age before it was confirmed', { ageMs: -1 }],
        ['half a millisecond', { ageMs: 1.5 }],
        ['no time', { at: undefined }],
        ['a time before the epoch', { at: -1 }],
        ['nobody who says so', { signer: undefined }],
        ['a signer that is long', { signer: 'x'.repeat(129) }],
        ['no signature', { signature: undefined }],
        ['a short signature', { signature: 'AAAA' }],
        ['a number as its media type', { mediaType: 1 }],
      ] as const
    ).map(([what, change]) => [what, JSON.stringify({ ...right, ...change })] as const),
  ])('with %s is refused', (_, text) => {
    expect(() => decodeConfirmation(text, Date.now())).toThrow()
  })
})

test('the certificate is self-signed, and each one is another', async () => {
  const made = await Promise.all(Array.from({ length: 20 }, () => createCertificate()))
  for (const { cert, fingerprint } of made) {
    const certificate = new X509Certificate(cert)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.checkIssued(certificate)).toBe(true)
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
    expect(new Date(certificate.validFrom).getTime()).toBeLessThan(Date.now())
    expect(new Date(certificate.validTo).getUTCFullYear()).toBe(9999)
    expect(fingerprintOf(certificate.raw)).toBe(fingerprint)
  }
  expect(new Set(made.map(({ fingerprint }) => fingerprint)).size).toBe(20)
})
