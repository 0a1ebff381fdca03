import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { configSchema } from '../../config/schema.ts'
import { KeptCheckpoints } from '../../daemon/kept-checkpoints.ts'
import { createRules } from '../../daemon/rules.ts'
import { sharedContent } from '../../daemon/shared-content.ts'
import { sharingPolicy } from '../../daemon/sharing.ts'
import { BlobStore } from '../../daemon/store/blob-store.ts'
import { Metadata } from '../../daemon/store/metadata.ts'
import type { SharedBlob, SharedContent } from '../../daemon/swarm/ports.ts'
import { loadEngine } from '../../daemon/verify/sha256.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { collect, pseudoRandomBytes } from '../fixtures/bytes.ts'
import { MemoryContent } from '../fixtures/swarm.ts'
import { newSigner } from '../fixtures/tags.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

/** A way to make the port with a blob in it. */
interface Subject {
  readonly content: SharedContent
  put(bytes: Uint8Array): Promise<Digest>
}

async function storeSubject(): Promise<Subject> {
  const dataDir = await tempDir()
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const events = { stored: () => {}, removing: async () => {} }
  const store = await BlobStore.open({ dataDir, metadata, maxBytes: 100_000_000, events })
  onTestFinished(async () => {
    await store.close()
    await metadata.close()
  })
  const put = async (bytes: Uint8Array) => {
    const digest = digestOf(bytes)
    const staging = await store.stage(digest, bytes.length, () => {})
    await staging.blob.write(bytes)
    await staging.blob.finish()
    await staging.commit({ mediaType: undefined, public: true, repository: 'docker.io/library/a' })
    await staging.blob.close()
    return digest
  }
  const engine = await loadEngine('auto')
  onTestFinished(() => engine.close())
  const checkpoints = new KeptCheckpoints(store, engine)
  const rules = createRules(configSchema.parse({}))
  const told = sharingPolicy(rules, false)
  const downloads = () => undefined
  const signer = await newSigner()
  const content = sharedContent({ store, metadata, checkpoints, downloads, isClosed: false, told, rules, signer })
  return { content, put }
}

async function memorySubject(): Promise<Subject> {
  const content = new MemoryContent()
  return { content, put: async (bytes) => content.add(bytes) }
}

describe.each([
  ['the store', storeSubject],
  ['the fake in memory', memorySubject],
])('SharedContent of %s', (_name, make) => {
  const bytes = pseudoRandomBytes(1_300_001)
  const signal = new AbortController().signal

  async function open({ content, put }: Subject): Promise<SharedBlob> {
    const blob = await content.open(await put(bytes))
    if (blob === undefined) throw new Error('the blob is not there')
    onTestFinished(() => blob.close())
    return blob
  }

  it('has nothing that was not put into it', async () => {
    const { content } = await make()
    expect(await content.open(digestOf(bytes))).toBeUndefined()
    expect(await content.tag('docker.io/library/a:latest')).toBeUndefined()
  })

  it.each([
    [0, 1_300_000],
    [0, 0],
    [1_300_000, 1_300_000],
    [524_287, 524_288],
    [77, 1_200_000],
  ])('gives bytes %i to %i, both of them included', async (start, end) => {
    const blob = await open(await make())
    expect(blob.size).toBe(bytes.length)
    expect(bytes.subarray(start, end + 1).equals(await collect(blob.read(start, end, signal)))).toBe(true)
  })

  it('serves several readers of one blob, in step', async () => {
    const blob = await open(await make())
    const readers = [blob.read(0, 1_300_000, signal), blob.read(5, 1_300_000, signal)]
    const [first, second] = await Promise.all(readers.map((reader) => collect(reader)))
    expect(first && bytes.equals(first)).toBe(true)
    expect(second && bytes.subarray(5).equals(second)).toBe(true)
  })

  it('stops reading when its signal is aborted', async () => {
    const blob = await open(await make())
    const gone = new AbortController()
    const reading = blob.read(0, 1_300_000, gone.signal)[Symbol.asyncIterator]()
    await reading.next()
    gone.abort(new Error('gone'))
    await expect(reading.next()).rejects.toThrow('gone')
  })
})
