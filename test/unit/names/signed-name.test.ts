import { describe, expect, it } from 'vitest'
import { fingerprintOf } from '../../../daemon/names/fingerprint.ts'
import { isSignedName, signName } from '../../../daemon/names/signed-name.ts'
import type { SignedName } from '../../../daemon/swarm/ports.ts'
import { newSigner, someDigest, statement } from '../../fixtures/names.ts'

const [signer, other] = await Promise.all([newSigner(), newSigner()])
const name = signName(signer, statement({ sequence: 3, at: 1_700_000_000_000 }))

describe('what somebody says of a name', () => {
  it('is signed by whoever says it', () => {
    expect(name).toMatchObject({ publisher: signer.self, sequence: 3, digest: someDigest('image') })
    expect(isSignedName(name)).toBe(true)
  })

  it('is signed where it was deleted, too', () => {
    const gone = signName(signer, statement({ digest: undefined, mediaType: undefined, size: 0 }))
    expect(isSignedName(gone)).toBe(true)
    expect(isSignedName({ ...gone, digest: someDigest('image') })).toBe(false)
  })

  it.each<[string, Partial<SignedName>]>([
    ['another publisher', { publisher: other.self }],
    ['a publisher that is none', { publisher: 'somebody' }],
    ['another repository', { repository: 'ap' }],
    ['a text that is cut elsewhere', { repository: 'ap', reference: 'p1' }],
    ['another tag', { reference: '2' }],
    ['another digest', { digest: someDigest('other') }],
    ['no digest', { digest: undefined }],
    ['another type', { mediaType: 'application/json' }],
    ['another size', { size: 8 }],
    ['a subject', { subject: someDigest('image') }],
    ['another artifact', { artifactType: 'a/b' }],
    ['another sequence', { sequence: 4 }],
    ['a sequence that is no number', { sequence: 1.5 }],
    ['another time', { at: 0 }],
    ['another signature', { signature: Buffer.alloc(64) }],
    ['half a signature', { signature: name.signature.subarray(0, 32) }],
  ])('is not signed with %s', (_, changed) => {
    expect(isSignedName({ ...name, ...changed })).toBe(false)
  })
})

describe('a fingerprint', () => {
  it('is short, the same each time, and of one peer', () => {
    expect(fingerprintOf(signer.self)).toMatch(/^\d{4}(?:-\d{4}){4}$/)
    expect(fingerprintOf(signer.self)).toBe(fingerprintOf(signer.self))
    expect(fingerprintOf(signer.self)).not.toBe(fingerprintOf(other.self))
    // People have written it down.
    expect(fingerprintOf('12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X')).toBe('7718-4122-9949-4482-6849')
  })
})
