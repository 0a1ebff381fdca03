import { expect, it } from 'vitest'
import type { ManifestRecord } from '../../../daemon/local/records.ts'
import { SharedRegistry } from '../../../daemon/names/registry.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import type { ManifestPush, PushRequest } from '../../../proxy/ports.ts'
import { MemoryNames, NameNode, someDigest } from '../../fixtures/names.ts'
import { ociManifest, testImage } from '../../fixtures/registry-client.ts'

/** The registry of a node whose records are tags of one repository, each of the image that a text stands for. */
function registryOf(node: NameNode, images: Readonly<Record<string, string>>) {
  const tags = new Map(Object.entries(images).map(([tag, text]) => [tag, someDigest(text)]))
  const manifests = new Map<Digest, ManifestRecord>(
    [...tags.values()].map((digest) => [digest, { mediaType: 'application/json', size: 7 }]),
  )
  const removed: Digest[] = []
  const warnings: [object, string][] = []
  const removeDigest = (digest: Digest) => {
    removed.push(digest)
    manifests.delete(digest)
    for (const [tag, of] of tags) if (of === digest) tags.delete(tag)
  }
  const own = {
    registry: 'localhost',
    putManifest: async (_: PushRequest, { bytes }: ManifestPush) => ({ digest: digestOf(bytes), subject: undefined }),
    deleteManifest: async (_: PushRequest, reference: Digest | { readonly tag: string }) =>
      typeof reference === 'string' ? removeDigest(reference) : void tags.delete(reference.tag),
  }
  const remover = {
    remove: async (_: string, reference: Digest | { readonly tag: string }) => {
      const digest = typeof reference === 'string' ? reference : tags.get(reference.tag)
      if (digest !== undefined) removeDigest(digest)
      return { digests: [] }
    },
  }
  const records = { names: () => ['app'], get: (name: string) => (name === 'app' ? { tags, manifests } : undefined) }
  const registry = new SharedRegistry({
    own: own as never,
    records: records as never,
    remover,
    names: node.names,
    fetchParts: async () => {},
    isOfferedToAll: () => false,
    isTold: (digest) => digest !== someDigest('private base'),
    isClosed: node.options.isClosed,
    logger: { info: () => {}, warn: (facts: object, text: string) => warnings.push([facts, text]) } as never,
  })
  return { registry, removed, warnings }
}

const request: PushRequest = { name: 'app', isGuest: false, signal: new AbortController().signal } as never

it('what is deleted by its digest takes no name with it that is another image by now', async () => {
  for (const way of ['deleteManifest', 'remove'] as const) {
    const [a, b] = [await NameNode.start(), await NameNode.start()]
    a.connect(b)
    await a.push('one')
    await a.push('one', 'old')
    await b.push('two')
    const { registry, removed } = registryOf(a, { 1: 'one', old: 'one' })
    if (way === 'remove') await registry.remove('app', someDigest('one'))
    else await registry.deleteManifest(request, someDigest('one'))
    expect(removed).toEqual([someDigest('one')])
    expect([a.tag(), b.tag()]).toEqual([someDigest('two'), someDigest('two')])
    expect([a.tag('old'), b.tag('old')]).toEqual([undefined, undefined])
  }
})

it('what is deleted or removed here brings back nothing that a peer has replaced, and takes no push of a peer with it', async () => {
  const [a, b] = [await NameNode.start(), await NameNode.start()]
  a.connect(b)
  await a.push('one')
  await b.push('two')
  const { registry, removed } = registryOf(a, { 1: 'one' })
  // The digest of the peer's image: the tag is gone, and is not what this node's own was before.
  await registry.deleteManifest(request, someDigest('two'))
  expect([a.tag(), b.tag()]).toEqual([undefined, undefined])
  await b.push('three')
  await registry.remove('app', { tag: '1' })
  expect(removed).toContain(someDigest('one'))
  expect([a.tag(), b.tag()]).toEqual([someDigest('three'), someDigest('three')])
})

it('what a node published once is published no second time from its records, which peers may have overtaken', async () => {
  const disk = new MemoryNames()
  const [a, b] = [await NameNode.start({ disk }), await NameNode.start()]
  await a.push('one')
  const copy = new MemoryNames()
  await copy.changeNames([...disk.entries].map(([key, value]) => ({ key, value })))
  a.connect(b)
  await a.push('two')
  a.disconnect(b)
  const restored = await NameNode.start({ disk: copy, signer: a.options.signer })
  restored.connect(b)
  await expect.poll(() => restored.tag()).toBe(someDigest('two'))
  const again = await NameNode.start({ disk: copy, signer: a.options.signer })
  await registryOf(again, { 1: 'one' }).registry.reconcile()
  again.connect(b)
  expect([again.tag(), b.tag()]).toEqual([someDigest('two'), someDigest('two')])
})

it('what an earlier version has not published is published at a start, and is older than all that peers remember', async () => {
  const [a, b] = [await NameNode.start(), await NameNode.start()]
  a.connect(b)
  for (const text of ['one', 'two']) await a.push(text)
  const empty = await NameNode.start({ signer: a.options.signer })
  await registryOf(empty, { 1: 'one', 2: 'unheard' }).registry.reconcile()
  empty.connect(b)
  await expect.poll(() => empty.tag()).toBe(someDigest('two'))
  expect([b.tag(), b.tag('2')]).toEqual([someDigest('two'), someDigest('unheard')])
})

it('a push of a node that has lost its records replaces what peers have said since, and is no conflict with it', async () => {
  const [a, b] = [await NameNode.start(), await NameNode.start()]
  a.connect(b)
  for (const text of ['one', 'two']) await a.push(text)
  await b.push('three')
  const empty = await NameNode.start({ signer: a.options.signer })
  await empty.push('new')
  empty.connect(b)
  await expect.poll(() => b.tag()).toBe(someDigest('new'))
  expect(b.names.choose('app', '1').conflicts).toEqual([])
})

it('what was pushed to a peer is not removed here, and its user is told where it is', async () => {
  const [a, b] = [await NameNode.start(), await NameNode.start()]
  a.connect(b)
  await b.push('two', '2')
  const { registry, removed } = registryOf(a, { 1: 'one' })
  for (const reference of [{ tag: '2' }, someDigest('two')])
    await expect(registry.remove('app', reference)).rejects.toThrow(`app:2 was pushed to the peer ${b.self}`)
  expect([removed, b.tag('2')]).toEqual([[], someDigest('two')])
})

it('whoever pushes an image on a base that peers may not have is told so', async () => {
  const { registry, warnings } = registryOf(await NameNode.start(), {})
  const push = async (base: string) => {
    const { manifest } = testImage([Buffer.from(base)])
    await registry.putManifest(request, { bytes: manifest, contentType: ociManifest, digest: undefined, tags: [] })
  }
  await push('public base')
  expect(warnings).toEqual([])
  await push('private base')
  const told = { repository: 'app', layers: [someDigest('private base')] }
  expect(warnings).toEqual([
    [expect.objectContaining(told), expect.stringContaining('add localhost/app to repositories.public')],
  ])
})
