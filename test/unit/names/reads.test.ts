import { expect, it } from 'vitest'
import { SharedReads } from '../../../daemon/names/reads.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import type { Content, ContentRequest } from '../../../proxy/ports.ts'
import { NameNode, someDigest } from '../../fixtures/names.ts'

const content: Content = { size: 1, origin: 'peer', async *read() {}, close: async () => {} }
const missing = () => new OciError('MANIFEST_UNKNOWN', 'it is not here')

/** A node that has nothing itself, whose peers give content after some tries. */
async function reads(tries: number) {
  const asked: string[] = []
  const [node, peer] = [await NameNode.start(), await NameNode.start()]
  node.connect(peer)
  await peer.push('one')
  const own = {
    open: async () => {
      throw missing()
    },
  }
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

it('what nobody has in the end is told with who could have it, where anybody named it', async () => {
  const { shared, request, peer } = await reads(100)
  await expect(shared.open(request('app'))).rejects.toMatchObject({
    status: 503,
    message: expect.stringContaining(`${peer.self}, which has pushed it as app:1`),
  })
  await expect(shared.open(request('app', 'other'))).rejects.toMatchObject({ status: 404 })
})

it('nobody is asked for a repository of which nobody has spoken', async () => {
  const { shared, asked, request } = await reads(0)
  await expect(shared.open(request('other'))).rejects.toMatchObject({ status: 404 })
  expect(asked).toEqual([])
})
