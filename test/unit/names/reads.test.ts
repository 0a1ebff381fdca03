import { expect, it } from 'vitest'
import { Questions } from '../../../daemon/names/questions.ts'
import { SharedReads } from '../../../daemon/names/reads.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import type { Content, ContentRequest } from '../../../proxy/ports.ts'
import { NameNode, someDigest } from '../../fixtures/names.ts'

const config = someDigest('config')
const manifest = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: { digest: config, size: 6 },
    layers: [{ digest: someDigest('layer'), size: 5 }],
  }),
)
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
  const asked: string[] = []
  const [node, peer] = [await NameNode.start(), await NameNode.start()]
  node.connect(peer)
  await peer.push('one')
  const refuse = async () => {
    throw missing()
  }
  const own = { open: refuse, stat: refuse, resolve: refuse, held: async () => undefined }
  const peers = {
    open: async ({ digest }: ContentRequest) => {
      asked.push(digest)
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

it('what is asked for by HEAD of its digest, as pushes do, is answered by what is here alone', async () => {
  const { shared, asked, request } = await reads(0)
  for (const kind of ['manifest', 'blob'] as const)
    await expect(shared.stat({ ...request('app'), kind })).rejects.toMatchObject({ status: 404 })
  expect(asked).toEqual([])
})

it('HEAD of a tag tells only of what can be had, and of nothing to a push of the same image', async () => {
  const { repository, signal } = (await reads(0)).request('app')
  const head = { repository, signal, tag: '1', isHead: true }
  const nowhere = await reads(100)
  await expect(nowhere.shared.resolve(head)).rejects.toMatchObject({ status: 503 })
  expect(await nowhere.shared.resolve({ ...head, isHead: false })).toMatchObject({ digest: someDigest('one') })
  const { shared, request, asked } = await reads(0)
  expect(await shared.resolve(head)).toMatchObject({ digest: someDigest('one'), size: 7 })
  expect(asked).toEqual([someDigest('one')])
  // A push of another image of the repository may have a part of it in common.
  await shared.stat({ ...request('app'), kind: 'blob', digest: someDigest('layer') }).catch(() => {})
  expect(await shared.resolve(head)).toMatchObject({ digest: someDigest('one') })
  await shared.stat({ ...request('app'), kind: 'blob', digest: config }).catch(() => {})
  await expect(shared.resolve(head)).rejects.toMatchObject({ status: 404, code: 'MANIFEST_UNKNOWN' })
  expect(await shared.resolve({ ...head, isHead: false })).toMatchObject({ digest: someDigest('one') })
})

it('questions of pushes are remembered for a time, and a bounded number of them', () => {
  let now = 0
  const questions = new Questions(() => now)
  questions.note('app', config)
  expect([questions.has('app', config), questions.has('other', config)]).toEqual([true, false])
  now = 599_999
  expect(questions.has('app', config)).toBe(true)
  now = 600_001
  expect(questions.has('app', config)).toBe(false)
  questions.note('app', config)
  for (let other = 0; other < 10_000; other++) questions.note('app', someDigest(`${other}`))
  expect(questions.has('app', config)).toBe(false)
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
