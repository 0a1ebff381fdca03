import { describe, expect, it } from 'vitest'
import { PeerTags, tagTrust } from '../../../daemon/fetch/peer-tags.ts'
import type { TagConfirmation } from '../../../daemon/swarm/ports.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { newSigner, signedTag } from '../../fixtures/tags.ts'

const reference = 'docker.io/library/app:latest'
const right = digestOf(Buffer.from('right'))
const wrong = digestOf(Buffer.from('wrong'))
const day = 86_400_000
const now = 20_000 * day
const [one, two] = [await newSigner(), await newSigner()]

async function newest(said: readonly TagConfirmation[], signers: readonly string[] = []) {
  const reasons: unknown[] = []
  const peers = new PeerTags({
    swarm: { tags: async () => said.map((told) => ({ ...told, peer: 'teller' })) },
    signers,
    logger: { debug: (facts) => void reasons.push((facts as { reason: string }).reason) },
    now: () => now,
  })
  const told = await peers.newest(reference, AbortSignal.timeout(1_000))
  return { told, reasons }
}

describe('whose word on tags counts', () => {
  it.each([
    ['never', true, false, 'nobody'],
    ['never', false, false, 'nobody'],
    ['closed', true, true, 'members'],
    ['closed', false, false, 'nobody'],
    ['offline', true, true, 'members'],
    ['offline', false, false, 'strangers'],
    ['always', true, true, 'members'],
    ['always', false, true, 'strangers'],
  ] as const)('%s, in a swarm that is closed: %s', (setting, isClosed, whileAnswered, otherwise) => {
    expect(tagTrust(setting, isClosed)).toEqual({ whileAnswered, otherwise })
  })
})

describe('what peers say of a tag', () => {
  it('is the newest of all', async () => {
    const said = [
      signedTag(reference, { digest: wrong, confirmedAt: now - 2_000 }, one),
      signedTag(reference, { digest: right, confirmedAt: now - 1_000, mediaType: 'a/b' }, two),
      signedTag(reference, { digest: wrong, confirmedAt: now - 3_000 }, one),
    ]
    const { told } = await newest(said)
    expect(told).toMatchObject({ digest: right, mediaType: 'a/b', signer: two.self, peer: 'teller' })
  })

  it('is not believed without a signature that fits all of it', async () => {
    const said = signedTag(reference, { digest: right, confirmedAt: now - 1_000, mediaType: 'a/b' })
    const forged: TagConfirmation[] = [
      { ...said, digest: wrong },
      { ...said, mediaType: 'a/c' },
      { ...said, mediaType: undefined },
      { ...said, at: said.at + 1 },
      { ...said, signer: two.self },
      { ...said, signer: 'nobody' },
      { ...said, signature: new Uint8Array(64) },
      { ...said, signature: new Uint8Array(0) },
      signedTag('docker.io/library/app:other', { digest: wrong, confirmedAt: now }),
    ]
    const { told, reasons } = await newest(forged)
    expect([told, reasons]).toEqual([undefined, Array(forged.length).fill('its signature is wrong')])
  })

  it('is not believed of a signer that is not named, though a member passes it on', async () => {
    const said = [
      signedTag(reference, { digest: wrong, confirmedAt: now }, one),
      signedTag(reference, { digest: right, confirmedAt: now - 5_000 }, two),
    ]
    const { told, reasons } = await newest(said, [two.self])
    expect([told?.digest, reasons]).toEqual([right, ['its signer is not in swarm.allowedPeers']])
  })

  it('is not the newest for ever where the clock of a member is a day ahead', async () => {
    const ahead = signedTag(reference, { digest: wrong, confirmedAt: now - 5 * day, at: now + day }, one)
    const { told, reasons } = await newest([ahead, signedTag(reference, { digest: right, confirmedAt: now - 9 * day })])
    expect([told?.digest, reasons]).toEqual([right, ['the clock of its signer is ahead']])
  })

  it('is no younger than its signature, whatever is said of its age', async () => {
    const old = signedTag(reference, { digest: wrong, confirmedAt: now, at: now - day }, one)
    const { told } = await newest([old, signedTag(reference, { digest: right, confirmedAt: now - 3_600_000 }, two)])
    expect(told?.digest).toBe(right)
    expect((await newest([old])).told?.confirmedAt).toBe(now - day + 60_000)
  })

  it('is as old as it is said to be where clocks differ by seconds', async () => {
    const said = [
      signedTag(reference, { digest: right, confirmedAt: now - 1_000, at: now - 31_000 }, one),
      signedTag(reference, { digest: wrong, confirmedAt: now - 2_000, at: now + 28_000 }, two),
    ]
    expect((await newest(said)).told).toMatchObject({ digest: right, confirmedAt: now - 1_000 })
  })
})
