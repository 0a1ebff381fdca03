import { describe, expect, it } from 'vitest'
import { holdingOf } from '../../../daemon/fetch/holding.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'

const part = (name: string, size: number) => ({ digest: digestOf(Buffer.from(name)), size })
const json = (manifest: unknown) => Buffer.from(JSON.stringify(manifest))
const [config, base, top] = [part('config', 10), part('base', 200), part('top', 3_000)]
const image = json({ config, layers: [base, top, base] })
const other = json({ config: part('other', 20), layers: [part('else', 5)] })
const indexed = (...manifests: Buffer[]) =>
  json({ manifests: manifests.map((bytes) => ({ digest: digestOf(bytes), size: bytes.length })) })

/** @param parts that are held beside the manifests, whose bytes don't matter */
async function holding(of: Uint8Array, manifests: readonly Uint8Array[], parts: readonly { digest: Digest }[]) {
  const files = new Map(manifests.map((bytes) => [digestOf(bytes), bytes]))
  const held = new Set([...files.keys(), ...parts.map(({ digest }) => digest)])
  const store = {
    has: (digest: Digest) => held.has(digest),
    openUntouched: async (digest: Digest) => {
      const bytes = files.get(digest)
      if (bytes === undefined) return undefined
      async function* read() {
        yield bytes as Uint8Array
      }
      return { record: { size: bytes.length } as never, read, close: async () => {} }
    },
  }
  return await holdingOf(store, digestOf(of), new AbortController().signal)
}

describe('what is held of an image', () => {
  it('is all of it, or what is missing is named with its size, each once', async () => {
    expect(await holding(image, [image], [config, base, top])).toMatchObject({
      isComplete: true,
      bytes: 3_210,
      missing: [],
      images: [],
    })
    expect(await holding(image, [image], [config, top])).toMatchObject({ isComplete: false, missing: [base] })
    expect(await holding(image, [image], [])).toMatchObject({ isComplete: false, missing: [config, base, top] })
  })

  it('is nothing that is known where its manifest is not here, or is none', async () => {
    expect(await holding(image, [], [config, base, top])).toBeUndefined()
    const text = Buffer.from('no manifest')
    expect(await holding(text, [text], [])).toBeUndefined()
    expect(await holding(json({}), [json({})], [])).toBeUndefined()
  })
})

describe('what is held of an index', () => {
  const index = indexed(image, other)

  it('is that of its images whose manifests are here', async () => {
    expect(await holding(index, [index, image], [config, base, top])).toMatchObject({ isComplete: true, bytes: 3_210 })
    const both = await holding(index, [index, image, other], [config, base, top, part('else', 5)])
    expect(both).toMatchObject({ isComplete: false, missing: [part('other', 20)] })
    expect(both?.images.map(({ digest, isComplete }) => [digest, isComplete])).toEqual([
      [digestOf(image), true],
      [digestOf(other), false],
    ])
  })

  it('is not complete where none of its images is here, nor does it end in itself', async () => {
    expect(await holding(index, [index], [])).toMatchObject({ isComplete: false, missing: [], images: [] })
    const nested: Buffer[] = []
    for (let depth = 0; depth < 6; depth++) nested.push(indexed(nested.at(-1) ?? image))
    const outermost = nested.at(-1) as Buffer
    expect(await holding(outermost, [image, ...nested], [])).toMatchObject({ isComplete: false })
  })
})
