import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { Holdings } from '../../../daemon/local/holdings.ts'
import { LocalRecords } from '../../../daemon/local/records.ts'
import { OwnRegistry } from '../../../daemon/local/registry.ts'
import { Sessions } from '../../../daemon/local/sessions.ts'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { loadEngine } from '../../../daemon/verify/sha256.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { collect, piecesOf } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const hour = 3_600_000
const minute = 60_000
const bytes = Buffer.from('some bytes')

async function setUp({ maxUploads = 10, maxBytes = 100_000_000 } = {}) {
  const clock = { now: Date.now() }
  const dataDir = await tempDir()
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const store = await BlobStore.open({
    dataDir,
    metadata,
    maxBytes,
    now: () => clock.now,
    events: { stored: () => {}, removing: async () => {} },
  })
  const engine = await loadEngine('portable')
  onTestFinished(async () => {
    vi.restoreAllMocks()
    await engine.close()
    await store.close()
    await metadata.close()
  })
  const now = () => clock.now
  const records = await LocalRecords.open(metadata)
  const holdings = new Holdings(store, records)
  const registry = new OwnRegistry({
    registry: 'localhost',
    store,
    records,
    holdings,
    upstream: { held: async () => undefined },
    now,
  })
  const newRepository = (name: string) => registry.newRepository(name)
  const sessions = new Sessions({ store, records, holdings, engine, newRepository, now, maxUploads })
  const request = { name: 'app', signal: new AbortController().signal }
  const append = (id: string) =>
    sessions.append(request, id, { body: piecesOf(bytes, 3), length: bytes.length, start: undefined, cut: () => {} })
  return { clock, records, metadata, holdings, registry, sessions, request, append, store, dataDir }
}

const unknown = expect.objectContaining({ code: 'BLOB_UPLOAD_UNKNOWN' })

describe('an upload', () => {
  it('is over a day after its client has left it, and its name is free an hour later', async () => {
    const { clock, records, registry, sessions, request, append, store } = await setUp()
    const { id } = await sessions.begin(request)
    await append(id)
    clock.now += 23 * hour
    await sessions.prune()
    await registry.prune()
    expect(sessions.state(request, id)).toEqual({ id, length: bytes.length })
    expect(records.get('app')).toBeDefined()
    clock.now += 2 * hour
    await sessions.prune()
    await registry.prune()
    expect(() => sessions.state(request, id)).toThrow(unknown)
    expect([records.get('app'), store.uploads.ids]).toEqual([undefined, []])
  })

  it('keeps its repository when something came of it', async () => {
    const { clock, records, registry, sessions, request, append } = await setUp()
    const { id } = await sessions.begin(request)
    await append(id)
    await sessions.finish(request, id, digestOf(bytes))
    clock.now += 48 * hour
    await registry.prune()
    expect(records.get('app')?.blobs).toEqual(new Set([digestOf(bytes)]))
  })

  it('is refused beyond the bound, where none has been left', async () => {
    const { clock, sessions, request, append } = await setUp({ maxUploads: 3 })
    const [first, second] = [await sessions.begin(request), await sessions.begin(request)]
    await append(first.id)
    await sessions.begin(request)
    await expect(sessions.begin(request)).rejects.toMatchObject({ code: 'DENIED' })
    // The two that have nothing give way after ten minutes, the one that has something does not.
    clock.now += 11 * minute
    await sessions.begin(request)
    expect(sessions.state(request, first.id).length).toBe(bytes.length)
    expect(() => sessions.state(request, second.id)).toThrow(unknown)
  })

  it('gives way at the bound when its client has left it, whatever it has', async () => {
    const { clock, sessions, request, append } = await setUp({ maxUploads: 2 })
    const [first, second] = [await sessions.begin(request), await sessions.begin(request)]
    await append(first.id)
    clock.now += minute
    await append(second.id)
    clock.now += 10 * minute
    await sessions.begin(request)
    expect(() => sessions.state(request, first.id)).toThrow(unknown)
    expect(sessions.state(request, second.id).length).toBe(bytes.length)
  })

  it('gives way to others when its client has left it', async () => {
    const { clock, sessions, request, store } = await setUp({ maxBytes: 1_000_000 })
    const send = async (length: number) => {
      const { id } = await sessions.begin(request)
      const body = piecesOf(Buffer.alloc(length), 65_536)
      await sessions.append(request, id, { body, length, start: undefined, cut: () => {} })
      return id
    }
    const [left, again] = [await send(400_000), await send(300_000)]
    clock.now += 9 * minute
    await expect(send(500_000)).rejects.toMatchObject({
      code: 'DENIED',
      message: expect.stringContaining('are pushes under way'),
    })
    await append100(again)
    clock.now += 2 * minute
    const last = await send(500_000)
    expect(() => sessions.state(request, left)).toThrow(unknown)
    expect([again, last].map((id) => sessions.state(request, id).length)).toEqual([300_100, 500_000])
    expect(store.usage).toMatchObject({ uploadBytes: 800_100, uploads: 3 })

    async function append100(id: string) {
      const body = piecesOf(Buffer.alloc(100), 100)
      await sessions.append(request, id, { body, length: 100, start: undefined, cut: () => {} })
    }
  })

  it('whose blob can not be recorded loses nothing, and can be finished then', async () => {
    const { metadata, registry, sessions, request, append, store } = await setUp()
    for (const fails of ['putBlob', 'changeLocal'] as const) {
      const { id } = await sessions.begin(request)
      await append(id)
      vi.spyOn(metadata, fails).mockRejectedValueOnce(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }))
      await expect(sessions.finish(request, id, digestOf(bytes))).rejects.toMatchObject({ code: 'DENIED' })
      expect(sessions.state(request, id)).toEqual({ id, length: bytes.length })
      expect(store.usage).toMatchObject({ bytes: 0, blobs: 0, uploadBytes: bytes.length })
      await sessions.finish(request, id, digestOf(bytes))
      expect(() => sessions.state(request, id)).toThrow(unknown)
      expect(await read(store, digestOf(bytes))).toBe(digestOf(bytes))
      expect(store.usage).toMatchObject({ bytes: bytes.length, keptBytes: bytes.length, uploadBytes: 0 })
      await registry.deleteBlob(request, digestOf(bytes))
    }
  })

  it('is a blob with one file: nothing is written to that any more', async () => {
    const { metadata, sessions, request, append, store, dataDir } = await setUp()
    // Fetched from upstream before, so that the file stays where it can't be named.
    const facts = { mediaType: undefined, public: true, repository: 'docker.io/library/a' }
    const staging = await store.stage(digestOf(bytes), bytes.length, () => {})
    await staging.blob.write(bytes)
    await staging.commit(facts)
    await staging.blob.close()
    const { id } = await sessions.begin(request)
    await append(id)
    vi.spyOn(metadata, 'changeLocal').mockRejectedValueOnce(new Error('EIO'))
    await expect(sessions.finish(request, id, digestOf(bytes))).rejects.toThrow('EIO')
    expect(store.record(digestOf(bytes))).toMatchObject({ kept: false, repositories: [facts.repository] })
    await expect(append(id)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(await read(store, digestOf(bytes))).toBe(digestOf(bytes))
    await sessions.finish(request, id, digestOf(bytes))
    expect(await read(store, digestOf(bytes))).toBe(digestOf(bytes))
    await store.remove(digestOf(bytes))
    for (const folder of ['staging', 'uploads', 'sha256'])
      expect(await readdir(join(dataDir, 'blobs', folder))).toEqual([])
  })

  it('whose file was removed is over, and never an empty blob', async () => {
    const { sessions, request, append, store, dataDir } = await setUp()
    const folder = join(dataDir, 'blobs', 'uploads')
    const [one, two] = [await sessions.begin(request), await sessions.begin(request)]
    await append(one.id)
    await append(two.id)
    await rm(folder, { recursive: true })
    await mkdir(folder)
    await expect(sessions.finish(request, one.id, digestOf(bytes))).rejects.toMatchObject({
      code: 'BLOB_UPLOAD_UNKNOWN',
    })
    await expect(append(two.id)).rejects.toMatchObject({ code: 'BLOB_UPLOAD_UNKNOWN' })
    for (const { id } of [one, two]) expect(() => sessions.state(request, id)).toThrow(unknown)
    expect(store.has(digestOf(bytes))).toBe(false)
    expect(await readdir(folder)).toEqual([])
  })

  it('ends also where nothing can be written, and its room is free', async () => {
    const { metadata, sessions, request, append, store, dataDir } = await setUp()
    const { id } = await sessions.begin(request)
    await append(id)
    vi.spyOn(metadata, 'changeLocal').mockRejectedValue(new Error('ENOSPC'))
    await sessions.cancel(request, id)
    expect(() => sessions.state(request, id)).toThrow(unknown)
    expect([await readdir(join(dataDir, 'blobs', 'uploads')), store.usage.uploadBytes]).toEqual([[], 0])
  })

  it('keeps its repository, which is forgotten in that moment', async () => {
    const { clock, records, registry, sessions, request, append, holdings } = await setUp()
    const first = await sessions.begin(request)
    await sessions.cancel(request, first.id)
    clock.now += 2 * hour
    // All that follows waits for its turn.
    const hold = Promise.withResolvers<void>()
    const held = holdings.inTurn(() => hold.promise)
    const begun = sessions.begin(request)
    // It has its turn before that.
    await new Promise((resolve) => setImmediate(resolve))
    const pruned = registry.prune()
    hold.resolve()
    const [{ id }] = await Promise.all([begun, pruned, held])
    expect(records.get('app')).toBeDefined()
    await append(id)
    await sessions.finish(request, id, digestOf(bytes))
    expect(records.get('app')?.blobs).toEqual(new Set([digestOf(bytes)]))
  })
})

describe('a start', () => {
  it('needs no room for uploads that have nothing', async () => {
    const { sessions, request, store, holdings, records, metadata } = await setUp({ maxBytes: 1_000 })
    const { id } = await sessions.begin(request)
    const blob = Buffer.alloc(900)
    const staging = await store.stage(digestOf(blob), 900, () => {})
    await staging.blob.write(blob)
    await staging.commit({ mediaType: undefined, public: false, repository: undefined, kept: true })
    await staging.blob.close()
    await store.close()
    const events = { stored: () => {}, removing: async () => {} }
    const dataDir = join(metadata.folder, '..')
    // The quota was set to less than what is kept.
    const again = await BlobStore.open({ dataDir, metadata, maxBytes: 500, events })
    onTestFinished(() => again.close())
    const engine = await loadEngine('portable')
    onTestFinished(() => engine.close())
    const after = new Sessions({ store: again, records, holdings, engine, newRepository: () => [] })
    await after.reconcile()
    expect(after.state(request, id)).toEqual({ id, length: 0 })
  })
})

async function read(store: BlobStore, digest: Digest): Promise<Digest | undefined> {
  const opened = await store.openBlob(digest)
  if (opened === undefined) return undefined
  const all = await collect(opened.read(0, opened.record.size - 1, new AbortController().signal))
  await opened.close()
  return digestOf(all)
}
