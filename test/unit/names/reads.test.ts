import { expect, it } from 'vitest'
import { SharedReads } from '../../../daemon/names/reads.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import type { Content, ContentRequest } from '../../../proxy/ports.ts'
import { NameNode, someDigest } from '../../fixtures/names.ts'

const config = someDigest('config')
const manifest = Buffer.from('{}')
const content: Content = {
  size: manifest.length,
  origin: 'peer',
  async *read() {
    yield manifest
  },
  close: async () => {},
}
const missing = () => new OciError('MANIFEST_UNKNOWN', 'it is not here')

/** A node that has nothing itself, whose peers give content after some tries. */
async function reads(tries: number) {
  const asked: Pick<ContentRequest, 'digest' | 'isExact'>[] = []
  const [node, peer] = [await NameNode.start(), await NameNode.start()]
  node.connect(peer)
  await peer.push('one')
  const refuse = async () => {
    throw missing()
  }
  const own = { open: refuse, stat: refuse, resolve: refuse, held: async () => undefined }
  const peers = {
    open: async ({ digest, isExact = false }: ContentRequest) => {
      asked.push({ digest, isExact })
      if (asked.length <= tries) throw missing()
      return content
    },
  }
  const shared = new SharedReads({ own: own as never, peers: peers as never, names: node.names, isHere: () => false })
  const request = (name: string, text = 'one'): ContentRequest => ({
    kind: 'manifest',
    digest: someDigest(text),
    repository: { registry: 'localhost', name },
    signal: new AbortController().signal,
  })
  return { shared, asked, request, peer }
}

it('peers are asked again for what nobody was heard to have', async () => {
  const { shared, asked, request } = await reads(2)
  expect(await shared.open(request('app'))).toBe(content)
  expect(asked).toHaveLength(3)
})

it('a blob that only peers have is not there for HEAD, with which pushes ask; a manifest is, for who does not push it', async () => {
  const { shared, asked, request } = await reads(0)
  const blob = { ...request('app'), kind: 'blob' } as const
  const pushed = { ...request('app'), isPushCheck: true }
  for (const one of [blob, pushed]) await expect(shared.stat(one)).rejects.toMatchObject({ status: 404 })
  expect(asked).toEqual([])
  expect(await shared.stat(request('app'))).toMatchObject({ size: manifest.length, origin: 'peer' })
  expect(asked).toEqual([{ digest: someDigest('one'), isExact: true }])
})

it('HEAD of a manifest that nobody can give says that it is not there, so that a client that would push it does', async () => {
  const { shared, request } = await reads(100)
  const { repository, signal } = request('app')
  const missing = { status: 404, code: 'MANIFEST_UNKNOWN' }
  await expect(shared.stat(request('app'))).rejects.toMatchObject(missing)
  const head = { repository, signal, tag: '1', isHead: true }
  for (const isPushCheck of [false, true])
    await expect(shared.resolve({ ...head, isPushCheck })).rejects.toMatchObject(missing)
  expect(await shared.resolve({ ...head, isHead: false })).toMatchObject({ digest: someDigest('one') })
})

it('HEAD of a tag tells who resolves it what can be had, which is no pull, and who would push it what is kept', async () => {
  const { shared, request, asked } = await reads(0)
  const { repository, signal } = request('app')
  const head = { repository, signal, tag: '1', isHead: true }
  expect(await shared.resolve(head)).toMatchObject({ digest: someDigest('one'), size: 7 })
  expect(asked).toEqual([{ digest: someDigest('one'), isExact: true }])
  await expect(shared.resolve({ ...head, isPushCheck: true })).rejects.toMatchObject({ status: 404 })
  expect(asked).toHaveLength(1)
})

it('a manifest that is only cached is not told to a client that would push it; a blob is', async () => {
  const { request } = await reads(0)
  const refuse = async () => {
    throw missing()
  }
  const own = { held: async () => undefined, stat: refuse }
  const peers = { held: async () => content }
  const names = (await NameNode.start()).names
  const shared = new SharedReads({ own: own as never, peers: peers as never, names, isHere: () => true })
  const asked = { ...request('app'), isPushCheck: true }
  expect(await shared.held(asked)).toBeUndefined()
  await expect(shared.stat(asked)).rejects.toMatchObject({ status: 404 })
  expect(await shared.stat({ ...asked, kind: 'blob' })).toBe(content)
  expect(await shared.stat(request('app'))).toBe(content)
})

it('what nobody has in the end is told with who could have it, where anybody named it', async () => {
  const { shared, request, peer } = await reads(100)
  await expect(shared.open(request('app'))).rejects.toMatchObject({
    status: 503,
    message: expect.stringContaining(`${peer.self}, which has pushed it as app:1`),
  })
  await expect(shared.open(request('app', 'other'))).rejects.toMatchObject({ status: 404 })
})

it('nobody is asked for what is not in a repository of this node alone, unless its own content is lost', async () => {
  const node = await NameNode.start()
  await node.push('one')
  let isHeld = true
  let asked = 0
  const refuse = async () => {
    throw missing()
  }
  const own = { open: refuse, held: async () => (isHeld ? content : undefined) }
  const peers = {
    open: async () => {
      asked++
      return content
    },
  }
  const shared = new SharedReads({ own: own as never, peers: peers as never, names: node.names, isHere: () => false })
  const repository = { registry: 'localhost', name: 'app' }
  const request = { kind: 'blob', digest: config, repository, signal: new AbortController().signal } as const
  await expect(shared.open(request)).rejects.toMatchObject({ status: 404 })
  expect(asked).toBe(0)
  isHeld = false
  expect(await shared.open(request)).toBe(content)
})

it('nobody is asked for a repository of which nobody has spoken', async () => {
  const { shared, asked, request } = await reads(0)
  await expect(shared.open(request('other'))).rejects.toMatchObject({ status: 404 })
  expect(asked).toEqual([])
})

it('a tag that an accepted peer has pushed in a repository of another one is told as that', async () => {
  const [node, owner, peer] = await Promise.all([1, 2, 3].map(() => NameNode.start({ isClosed: false })))
  if (node === undefined || owner === undefined || peer === undefined) throw new Error('no nodes')
  for (const one of [owner, peer]) {
    node.connect(one)
    await node.accept(one)
  }
  await owner.push('one')
  await peer.push('two', '2')
  const nothing = { own: {} as never, peers: {} as never, isHere: () => false }
  const shared = new SharedReads({ ...nothing, names: node.names })
  const repository = { registry: 'localhost', name: 'app' }
  const asked = shared.resolve({ repository, tag: '2', signal: new AbortController().signal })
  await expect(asked).rejects.toThrow(`${peer.self} has pushed app:2, but here app is what ${owner.self} has pushed`)
})
