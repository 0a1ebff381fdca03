import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Holdings } from '../../../daemon/local/holdings.ts'
import { LocalRecords } from '../../../daemon/local/records.ts'
import { OwnRegistry } from '../../../daemon/local/registry.ts'
import { Sessions } from '../../../daemon/local/sessions.ts'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { loadEngine } from '../../../daemon/verify/sha256.ts'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { piecesOf } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const hour = 3_600_000
const minute = 60_000
const bytes = Buffer.from('some bytes')

async function setUp(maxUploads = 10) {
  const dataDir = await tempDir()
  const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
  const store = await BlobStore.open({
    dataDir,
    metadata,
    maxBytes: 100_000_000,
    events: { stored: () => {}, removing: async () => {} },
  })
  const engine = await loadEngine('portable')
  onTestFinished(async () => {
    await engine.close()
    await store.close()
    await metadata.close()
  })
  const clock = { now: Date.now() }
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
  return { clock, records, registry, sessions, request, append, store }
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
    const { clock, sessions, request, append } = await setUp(3)
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
})
