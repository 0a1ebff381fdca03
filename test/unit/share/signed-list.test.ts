import { createHash } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { describe, expect, it } from 'vitest'
import { isSignedBy, ListHasher, ListSigner } from '../../../daemon/share/signed-list.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'

const key = await generateKeyPair('Ed25519')
const peer = peerIdFromPrivateKey(key).toString()
const signer = new ListSigner(key, peer)
const states = Buffer.from(Array.from({ length: 96 }, (_, index) => index))
const hash = createHash('sha256').update(states).digest()
const prefix = { digest: digestOf(Buffer.from('a')), size: 5_000_000_000, known: 3, hash }
const signature = signer.sign(prefix)

describe('the hash of a list', () => {
  it('is that of all states so far, however they came', () => {
    const hasher = new ListHasher()
    expect([hasher.known, hasher.digest()]).toEqual([0, createHash('sha256').digest()])
    hasher.append(states.subarray(0, 32))
    expect([hasher.known, hasher.digest()]).toEqual([1, createHash('sha256').update(states.subarray(0, 32)).digest()])
    hasher.append(states.subarray(32))
    expect([hasher.known, hasher.digest()]).toEqual([3, hash])
  })

  it('is not of parts of states', () => {
    expect(() => new ListHasher().append(states.subarray(0, 33))).toThrow(RangeError)
  })
})

describe('the signature of a list', () => {
  it('is that of the peer who made it, as libp2p would make it of the bytes that are described', async () => {
    expect(signature).toHaveLength(64)
    expect(isSignedBy(peer, prefix, signature)).toBe(true)
    const numbers = Buffer.alloc(12)
    numbers.writeBigUInt64BE(5_000_000_000n)
    numbers.writeUInt32BE(3, 8)
    const bytes = Buffer.concat([Buffer.from('layerd list 1\0'), numbers, hash, Buffer.from(prefix.digest)])
    expect(Buffer.from(signature).equals(await key.sign(bytes))).toBe(true)
  })

  it.each([
    ['blob', { digest: digestOf(Buffer.from('b')) }],
    ['size', { size: prefix.size + 1 }],
    ['number of states', { known: 2 }],
    ['list', { hash: createHash('sha256').digest() }],
  ])('is not of another %s', (_, change) => {
    expect(isSignedBy(peer, { ...prefix, ...change }, signature)).toBe(false)
  })

  it('is no other bytes', () => {
    for (let at = 0; at < signature.length; at++) {
      const changed = Buffer.from(signature)
      changed[at] = (changed[at] ?? 0) ^ 1
      expect(isSignedBy(peer, prefix, changed)).toBe(false)
    }
  })

  it('is of nobody else', async () => {
    const other = peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString()
    expect(isSignedBy(other, prefix, signature)).toBe(false)
  })

  it('is not looked at of peers with another type of key', async () => {
    const other = await generateKeyPair('secp256k1')
    expect(isSignedBy(peerIdFromPrivateKey(other).toString(), prefix, signature)).toBe(false)
  })

  it.each([
    ['peer', 'nobody', prefix, signature],
    ['name of a peer', '', prefix, signature],
    ['short name of a peer', `1${peer}`.repeat(9), prefix, signature],
    ['length of a signature', peer, prefix, signature.subarray(0, 63)],
    ['signature', peer, prefix, new Uint8Array()],
    ['hash', peer, { ...prefix, hash: hash.subarray(1) }, signature],
    ['size', peer, { ...prefix, size: -1 }, signature],
    ['size in bytes', peer, { ...prefix, size: 0.5 }, signature],
    ['number of states', peer, { ...prefix, known: 2 ** 32 }, signature],
  ])('is none where there is no such %s', (_, of, list, bytes) => {
    expect(isSignedBy(of, list, bytes)).toBe(false)
  })

  it('is still known of a peer after those of many others', async () => {
    for (let count = 0; count < 300; count++) {
      const other = await generateKeyPair('Ed25519')
      const id = peerIdFromPrivateKey(other).toString()
      expect(isSignedBy(id, prefix, new ListSigner(other, id).sign(prefix))).toBe(true)
    }
    expect(isSignedBy(peer, prefix, signature)).toBe(true)
  })
})
