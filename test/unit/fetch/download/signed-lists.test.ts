import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { describe, expect, it } from 'vitest'
import type { Attempt } from '../../../../daemon/fetch/download/context.ts'
import { Lies } from '../../../../daemon/fetch/download/lies.ts'
import { Lists } from '../../../../daemon/fetch/download/lists.ts'
import { ToldList } from '../../../../daemon/fetch/download/told-list.ts'
import { type SignedPrefix, View } from '../../../../daemon/fetch/download/view.ts'
import { isSignedBy, ListHasher, ListSigner } from '../../../../daemon/share/signed-list.ts'
import { quarterBytes } from '../../../../daemon/verify/quarter.ts'
import { digestOf } from '../../../../proxy/oci/digest.ts'
import { setUpAssembly } from '../../../fixtures/assembly.ts'
import { pseudoRandomBytes } from '../../../fixtures/bytes.ts'
import { checkpointsOf } from '../../../fixtures/swarm.ts'

/** Nine inner states. */
const bytes = pseudoRandomBytes(10 * quarterBytes, 'signed lists')
const digest = digestOf(bytes)
const size = bytes.length
const states = await checkpointsOf(bytes)
const part = (from: number, to: number, of: Uint8Array = states) => of.subarray(32 * from, 32 * to)

async function newSigner(): Promise<ListSigner> {
  const key = await generateKeyPair('Ed25519')
  return new ListSigner(key, peerIdFromPrivateKey(key).toString())
}

const [head, next, stranger] = await Promise.all([newSigner(), newSigner(), newSigner()])

function prefixOf(known: number, of: Uint8Array = states) {
  const hasher = new ListHasher()
  hasher.append(part(0, known, of))
  return { digest, size, known, hash: hasher.digest() }
}

const sign = (signer: ListSigner, known: number, of?: Uint8Array) => ({
  signer: signer.self,
  bytes: signer.sign(prefixOf(known, of)),
})

/** A node that fetches the blob while another one reads it from upstream. */
async function setUp() {
  const { assembly } = await setUpAssembly(bytes)
  const views: View[] = []
  let reader: string | undefined = head.self
  const lists = new Lists({
    attempt: { assembly, signal: new AbortController().signal } as Attempt,
    lies: new Lies(),
    views: () => views,
    holder: () => reader,
    onView: () => {},
    onChanged: () => {},
  })
  const peer = (name: string) => {
    const view = new View({ peer: name, digest, size })
    view.isUsed = true
    views.push(view)
    const tell = (told: Uint8Array, signature?: Pick<SignedPrefix, 'signer' | 'bytes'>) => {
      view.listed(told, signature, reader === name)
      lists.consider(view)
    }
    return { view, tell }
  }
  const readBy = (name: string | undefined) => {
    reader = name
    for (const view of views) lists.consider(view)
  }
  return { assembly, lists, peer, readBy }
}

describe('a list that is not complete', () => {
  it('is followed where the one who reads tells it, or somebody passes it on with its signature', async () => {
    const { assembly, peer } = await setUp()
    peer(head.self).tell(part(0, 2))
    expect(assembly.list.known).toBe(2)
    peer('relay').tell(part(0, 5), sign(head, 5))
    expect([assembly.list.known, assembly.authorOf(4)]).toEqual([5, head.self])
  })

  it.each([
    ['nobody', undefined],
    ['somebody else', sign(stranger, 5)],
    ['somebody else in its name', { ...sign(stranger, 5), signer: head.self }],
    ['the one who reads, for fewer states', sign(head, 4)],
    ['the one who reads, for other states', sign(head, 5, pseudoRandomBytes(9 * 32, 'other'))],
    ['the one who reads, and is cut short', { ...sign(head, 5), bytes: sign(head, 5).bytes.subarray(1) }],
  ])('is not followed where it is signed by %s, and nobody is blamed', async (_, signature) => {
    const { assembly, peer } = await setUp()
    const { view, tell } = peer('relay')
    tell(part(0, 5), signature)
    expect([assembly.list.known, view.isFollowed]).toEqual([0, true])
  })

  it('is followed as far as it is signed', async () => {
    const { assembly, peer } = await setUp()
    const { tell } = peer('relay')
    tell(part(0, 3), sign(head, 3))
    tell(part(3, 6))
    expect(assembly.list.known).toBe(3)
    tell(part(6, 8), sign(head, 8))
    expect(assembly.list.known).toBe(8)
  })

  it('is not what another blob has, or the same with another size', async () => {
    const { assembly, peer } = await setUp()
    const { hash, known } = prefixOf(5)
    for (const [name, other] of [
      ['a', { digest, size: size - 1, known, hash }],
      ['b', { digest: digestOf(Buffer.from('another')), size, known, hash }],
    ] as const)
      peer(name).tell(part(0, 5), { signer: head.self, bytes: head.sign(other) })
    expect(assembly.list.known).toBe(0)
  })

  it('goes on with what the next one signs, when another one reads, and no further with what the last one does', async () => {
    const { assembly, peer, readBy } = await setUp()
    const old = peer('old relay')
    old.tell(part(0, 3), sign(head, 3))
    const relay = peer('relay')
    relay.tell(part(0, 6), sign(next, 6))
    expect(assembly.list.known).toBe(3)
    readBy(next.self)
    expect([assembly.list.known, assembly.authorOf(5)]).toEqual([6, next.self])
    old.tell(part(3, 8), sign(head, 8))
    expect(assembly.list.known).toBe(6)
  })

  it('is passed on with its signature as long as it is the same, also where it was cut behind what is signed', async () => {
    const { assembly, lists, peer } = await setUp()
    peer('relay').tell(part(0, 4), sign(head, 4))
    peer(head.self).tell(part(0, 7))
    assembly.truncate(5)
    expect(lists.signed?.known).toBe(4)
    assembly.truncate(3)
    expect(lists.signed).toBeUndefined()
  })

  it('is not passed on with the signature of what it was before it was cut, and has grown in another way', async () => {
    const { assembly, lists, peer } = await setUp()
    peer('relay').tell(part(0, 6), sign(head, 6))
    expect(lists.signed?.known).toBe(6)
    assembly.truncate(2)
    assembly.extend(pseudoRandomBytes(6 * 32, 'other'), 'self')
    expect(lists.signed).toBeUndefined()
    assembly.truncate(2)
    peer('second relay').tell(part(0, 7), sign(head, 7))
    expect([assembly.list.known, lists.signed?.known]).toEqual([7, 7])
  })

  it('is not put in the place of another one where only its beginning is signed by the one who reads', async () => {
    const { assembly, peer } = await setUp()
    peer(head.self).tell(part(0, 6))
    const liar = peer('liar')
    liar.tell(part(0, 3), sign(head, 3))
    liar.tell(pseudoRandomBytes(5 * 32, 'forged'))
    expect(Buffer.from(assembly.list.encode()).equals(part(0, 6))).toBe(true)
    expect(liar.view.isApart).toBe(true)
  })

  it('is put in the place of another one as far as it is signed', async () => {
    const { assembly, peer, readBy } = await setUp()
    readBy(undefined)
    peer('liar').tell(pseudoRandomBytes(5 * 32, 'forged'))
    const relay = peer('relay')
    relay.tell(part(0, 3), sign(head, 3))
    relay.tell(pseudoRandomBytes(2 * 32, 'forged by the relay'))
    readBy(head.self)
    expect(Buffer.from(assembly.list.encode()).equals(part(0, 3))).toBe(true)
  })

  it('that a liar told while nobody was known to read gives way to what the one who reads has signed', async () => {
    const { assembly, peer, readBy } = await setUp()
    readBy(undefined)
    const liar = peer('liar')
    liar.tell(pseudoRandomBytes(5 * 32, 'forged'))
    expect(assembly.authorOf(0)).toBe('liar')
    const relay = peer('relay')
    relay.tell(part(0, 3))
    expect(assembly.authorOf(0)).toBe('liar')
    readBy(head.self)
    // One part of it is signed by nobody, so far.
    expect([assembly.authorOf(0), relay.view.isApart]).toEqual(['liar', true])
    relay.tell(part(3, 6), sign(head, 6))
    expect(Buffer.from(assembly.list.encode().subarray(0, 6 * 32)).equals(part(0, 6))).toBe(true)
    expect([assembly.authorOf(0) === 'liar', relay.view.isFollowed]).toEqual([false, true])
  })

  it('is followed by whoever tells it where nobody is known to read', async () => {
    const { assembly, peer, readBy } = await setUp()
    readBy(undefined)
    peer('somebody').tell(part(0, 4))
    expect(assembly.list.known).toBe(4)
  })
})

it('a complete list needs no signature', async () => {
  const { assembly, peer } = await setUp()
  peer('somebody').tell(states)
  expect(assembly.list.known).toBe(9)
})

describe('what a node tells of its list', () => {
  const told = async (self: ListSigner, reader: string | undefined, signed?: SignedPrefix) => {
    const { assembly, take } = await setUpAssembly(bytes)
    const list = new ToldList({
      assembly: () => assembly,
      self: () => self.self,
      signer: self,
      holder: () => reader,
      signed: () => signed,
    })
    return { assembly, take, list }
  }

  it('is signed by itself while it reads, anew each time that the list has grown, and once for all peers', async () => {
    const { assembly, list } = await told(head, head.self)
    expect(list.signed).toBeUndefined()
    assembly.extend(part(0, 2), 'self')
    const first = list.signed
    expect(first && isSignedBy(head.self, prefixOf(2), first.bytes)).toBe(true)
    expect(list.signed).toBe(first)
    assembly.extend(part(2, 7), 'self')
    const second = list.signed
    expect(second).toMatchObject({ known: 7, signer: head.self })
    expect(second && isSignedBy(head.self, prefixOf(7), second.bytes)).toBe(true)
  })

  it('is signed as it is after it was cut', async () => {
    const { assembly, list } = await told(head, head.self)
    const wrong = pseudoRandomBytes(4 * 32, 'wrong')
    assembly.extend(part(0, 2), 'liar')
    assembly.extend(wrong, 'liar')
    expect(list.signed?.known).toBe(6)
    assembly.truncate(2)
    expect(list.signed?.known).toBe(2)
    assembly.extend(part(2, 6), 'self')
    const { signed } = list
    expect(signed && isSignedBy(head.self, prefixOf(6), signed.bytes)).toBe(true)
  })

  it('is passed on with the signature of the one who reads, as far as that goes', async () => {
    const prefix = { ...prefixOf(4), ...sign(head, 4) }
    const { assembly, list } = await told(next, head.self, prefix)
    assembly.extend(part(0, 3), head.self)
    // What is signed is not known to this node as yet.
    expect(list.signed).toMatchObject({ known: 0 })
    assembly.extend(part(3, 6), head.self)
    expect(list.signed).toMatchObject({ known: 4, signer: head.self, bytes: prefix.bytes })
  })

  it('is nothing where the one who reads has signed nothing, and all where nobody reads', async () => {
    const silent = await told(next, head.self)
    silent.assembly.extend(part(0, 3), head.self)
    expect(silent.list.signed).toMatchObject({ known: 0 })
    const open = await told(next, undefined)
    open.assembly.extend(part(0, 3), head.self)
    expect([open.list.signed, open.list.known, open.list.isComplete]).toEqual([undefined, 3, false])
    expect(Buffer.from(open.list.encode(1)).equals(part(1, 3))).toBe(true)
  })
})
