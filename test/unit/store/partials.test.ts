import fs from 'node:fs'
import { appendFile, mkdir, open as openFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { BlobStore } from '../../../daemon/store/blob-store.ts'
import { Metadata } from '../../../daemon/store/metadata.ts'
import { PartialState } from '../../../daemon/store/partial-state.ts'
import { quarterBytes } from '../../../daemon/verify/quarter.ts'
import { WriteFailure } from '../../../daemon/verify/state.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { collect, pseudoRandomBytes } from '../../fixtures/bytes.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const bytes = pseudoRandomBytes(3 * quarterBytes + 7, 'partial')
const digest = digestOf(bytes)
const state = (index: number) => new Uint8Array(32).fill(index)
const facts = { mediaType: undefined, public: true, repository: 'docker.io/library/a' }
const signal = new AbortController().signal

/** A store that is closed and opened again as often as one likes. */
async function reopenable(maxBytes = 100 * quarterBytes) {
  const dataDir = await tempDir()
  let close = async () => {}
  onTestFinished(() => close())
  const open = async () => {
    await close()
    const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
    const events = { stored: () => {}, removing: async () => {} }
    const store = await BlobStore.open({ dataDir, metadata, maxBytes, events })
    close = async () => {
      await store.close()
      await metadata.close()
      close = async () => {}
    }
    return store
  }
  return { dataDir, open }
}

function quarter(index: number): Buffer {
  return bytes.subarray(index * quarterBytes, (index + 1) * quarterBytes)
}

describe('a partial blob', () => {
  it('is found again by the next process, which has to verify what it holds', async () => {
    const { open } = await reopenable()
    const first = await (await open()).partials.open(digest, bytes.length)
    for (const index of [0, 2]) {
      await first.write(quarter(index), index * quarterBytes)
      first.hold(index)
      first.saveState(index + 1, state(index + 1))
    }
    await first.keep()
    await first.close()
    const store = await open()
    expect(await store.partials.sizeOf(digest)).toBe(bytes.length)
    const second = await store.partials.open(digest, bytes.length)
    expect([second.held.count, [...second.unverified.indexes()]]).toEqual([0, [0, 2]])
    expect(second.knownState(1)).toEqual(state(1))
    expect(second.knownState(2)).toBeUndefined()
    const read = await collect(second.read(2 * quarterBytes, 3 * quarterBytes - 1, signal))
    expect(read.equals(quarter(2))).toBe(true)
    await second.discard()
    await second.close()
  })

  it('tells the next one who may have what is left, and is private where it does not know', async () => {
    const { dataDir, open } = await reopenable()
    const leave = async (...said: readonly boolean[]) => {
      const partial = await (await open()).partials.open(digest, bytes.length)
      const { leftAccess } = partial
      for (const isPublic of said) await partial.saveAccess({ public: isPublic, repositories: ['docker.io/a'] })
      await partial.write(quarter(0), 0)
      partial.hold(0)
      await partial.keep()
      await partial.close()
      return leftAccess
    }
    expect(await leave()).toBeUndefined()
    expect(await leave(true)).toEqual({ public: false, repositories: [] })
    expect(await leave(true, false)).toEqual({ public: true, repositories: ['docker.io/a'] })
    expect(await leave(true)).toEqual({ public: false, repositories: ['docker.io/a'] })
    await appendFile(join(dataDir, 'blobs', 'partial', `${digest.replace(':', '-')}.state`), 'rubbish')
    expect(await leave()).toEqual({ public: false, repositories: [] })
  })

  it('becomes a blob of the store, with its checkpoints', async () => {
    const { dataDir, open } = await reopenable()
    const store = await open()
    const partial = await store.partials.open(digest, bytes.length)
    await partial.write(bytes, 0)
    for (let index = 0; index < 4; index++) partial.hold(index)
    await partial.commit(facts, state(9))
    await partial.close()
    expect(Uint8Array.from((await store.checkpoints(digest)) ?? [])).toEqual(state(9))
    const blob = await store.openBlob(digest)
    expect(blob && (await collect(blob.read(0, bytes.length - 1, signal))).equals(bytes)).toBe(true)
    await blob?.close()
    expect(await readdir(join(dataDir, 'blobs', 'partial'))).toEqual([])
    await store.remove(digest)
    expect(await store.checkpoints(digest)).toBeUndefined()
  })

  it('lets somebody else write to its file, and tells what fails as it tells its own failures', async () => {
    const { open } = await reopenable()
    const partial = await (await open()).partials.open(digest, bytes.length)
    const failing = (error: Error) => partial.at(0).writeBy(() => Promise.reject(error))
    await expect(failing(new WriteFailure(constants.errno.ENOSPC))).rejects.toMatchObject({ code: 'no-space' })
    await expect(failing(new WriteFailure(constants.errno.EDQUOT))).rejects.toMatchObject({ code: 'no-space' })
    await expect(failing(new WriteFailure(constants.errno.EIO))).rejects.toMatchObject({ code: 'io', message: /EIO/ })
    await expect(failing(new Error('it was cancelled'))).rejects.toThrow('it was cancelled')
    await partial.discard()
    await partial.close()
  })

  it('stays open while somebody else writes to its file', async () => {
    const { open } = await reopenable()
    const partial = await (await open()).partials.open(digest, bytes.length)
    const gate = Promise.withResolvers<void>()
    const writing = partial.at(0).writeBy(async (file) => {
      await gate.promise
      fs.writeSync(file, bytes, 0, quarterBytes, 0)
    })
    await partial.discard()
    const closing = partial.close()
    gate.resolve()
    await expect(writing).resolves.toBeUndefined()
    await closing
  })

  it('of another size than what is there begins from nothing', async () => {
    const { open } = await reopenable()
    const store = await open()
    const first = await store.partials.open(digest, bytes.length)
    await first.write(quarter(0), 0)
    first.hold(0)
    await first.keep()
    await first.close()
    const second = await store.partials.open(digest, bytes.length - 1)
    expect([second.held.count, second.unverified.count]).toEqual([0, 0])
    await second.discard()
    await second.close()
  })

  it('leaves nothing behind where nothing is held, or what is there is damaged', async () => {
    const { dataDir, open } = await reopenable()
    const empty = await (await open()).partials.open(digest, bytes.length)
    await empty.keep()
    await empty.close()
    await writeFile(join(dataDir, 'blobs', 'partial', `${digest.replace(':', '-')}.state`), 'rubbish')
    await writeFile(join(dataDir, 'blobs', 'partial', 'sha256-0.data'), 'rubbish')
    const store = await open()
    expect(await readdir(join(dataDir, 'blobs', 'partial'))).toEqual([])
    expect(store.partials.idle).toBe(0)
  })

  it('of an earlier version, whose parts had another size, leaves nothing behind', async () => {
    const { dataDir, open } = await reopenable()
    const folder = join(dataDir, 'blobs', 'partial')
    const leave = async () => {
      const partial = await (await open()).partials.open(digest, bytes.length)
      await partial.write(quarter(0), 0)
      partial.hold(0)
      await partial.keep()
      await partial.close()
    }
    await leave()
    expect((await open()).partials.idle).toBe(1)
    const path = join(folder, `${digest.replace(':', '-')}.state`)
    const file = await readFile(path)
    expect(file.subarray(0, 17).toString()).toBe('layerd partial 3\n')
    file.write('2', 15)
    await writeFile(path, file)
    const store = await open()
    expect([store.partials.idle, await readdir(folder)]).toEqual([0, []])
    // Where it comes there while the node runs, it is not read either.
    await writeFile(path, file)
    const partial = await store.partials.open(digest, bytes.length)
    expect([partial.unverified.count, partial.knownState(1), partial.leftAccess]).toEqual([0, undefined, undefined])
    await partial.discard()
    await partial.close()
  })

  it('is fetched by one only', async () => {
    const { open } = await reopenable()
    const store = await open()
    const partial = await store.partials.open(digest, bytes.length)
    await expect(store.partials.open(digest, bytes.length)).rejects.toThrow(/already/)
    await partial.discard()
    await partial.close()
  })

  it('counts against the quota, and gives way to what is fetched now', async () => {
    const { open } = await reopenable(8 * quarterBytes)
    const store = await open()
    const left = await store.partials.open(digest, bytes.length)
    for (let index = 0; index < 3; index++) {
      await left.write(quarter(index), index * quarterBytes)
      left.hold(index)
    }
    await left.keep()
    await left.close()
    expect(store.partials.idle).toBe(1)
    const other = digestOf(Buffer.from('other'))
    await expect(store.partials.open(other, 9 * quarterBytes)).rejects.toMatchObject({ code: 'quota' })
    const next = await store.partials.open(other, 6 * quarterBytes)
    expect(store.partials.idle).toBe(0)
    await next.discard()
    await next.close()
  })

  it('does not count twice when it becomes a blob', async () => {
    const dataDir = await tempDir()
    const metadata = await Metadata.open(join(dataDir, 'meta'), () => {})
    const next = Promise.withResolvers<void>()
    const third = pseudoRandomBytes(quarterBytes, 'third')
    const stored = (placed: Digest) => {
      if (placed !== digest) return
      const opened = store.partials.open(digestOf(third), third.length)
      next.resolve(opened.then((partial) => partial.discard().then(() => partial.close())))
    }
    const maxBytes = 2 * bytes.length + quarterBytes
    const events = { stored, removing: async () => {} }
    const store: BlobStore = await BlobStore.open({ dataDir, metadata, maxBytes, events })
    onTestFinished(async () => {
      await store.close()
      await metadata.close()
    })
    const old = pseudoRandomBytes(bytes.length, 'old')
    for (const content of [old, bytes]) {
      const partial = await store.partials.open(digestOf(content), content.length)
      await partial.write(content, 0)
      for (let index = 0; index < 4; index++) partial.hold(index)
      await partial.commit(facts, undefined)
      await partial.close()
    }
    await next.promise
    expect([store.has(digestOf(old)), store.has(digest)]).toEqual([true, true])
    // All that was reserved is free again.
    const rest = await store.partials.open(digestOf(third), third.length)
    await rest.write(third, 0)
    expect(store.has(digestOf(old))).toBe(true)
    await rest.discard()
    await rest.close()
  })

  it('takes the room of others as its bytes come, and never that of most of them', async () => {
    const { open } = await reopenable(16 * quarterBytes)
    const store = await open()
    const put = async (name: string) => {
      const content = pseudoRandomBytes(quarterBytes, name)
      const staging = await store.stage(digestOf(content), content.length, () => {})
      await staging.blob.write(content)
      await staging.blob.finish()
      await staging.commit(facts)
      await staging.blob.close()
      return digestOf(content)
    }
    const held: Digest[] = []
    for (let index = 0; index < 16; index++) held.push(await put(`held ${index}`))
    const left = () => held.filter((one) => store.has(one)).length
    // Three quarters of all may be taken.
    await expect(store.partials.open(digest, 13 * quarterBytes)).rejects.toMatchObject({ code: 'quota' })
    const stranger = digestOf(Buffer.from('stranger'))
    const long = await store.partials.open(stranger, 2 ** 32, () => false)
    expect(left()).toBe(16)
    await long.write(new Uint8Array(10), 0)
    expect(left()).toBeGreaterThanOrEqual(4)
    await expect(long.write(new Uint8Array(10), 20 * quarterBytes)).resolves.toBe(undefined)
    await long.discard()
    await long.close()
  })

  it('waits for a word on its size that counts, where a stranger’s makes no more room', async () => {
    const MiB = 2 ** 20
    const { open } = await reopenable(32 * MiB)
    const store = await open()
    for (let index = 0; index < 8; index++) {
      const content = Buffer.alloc(4 * MiB, index)
      const staging = await store.stage(digestOf(content), content.length, () => {})
      await staging.blob.write(content)
      await staging.blob.finish()
      await staging.commit(facts)
      await staging.blob.close()
    }
    const asked: string[] = []
    // More than a stranger's word makes room for, and less than three quarters of all.
    const fetch = async (answer: 'none' | 'sure') => {
      const isSure = () => answer === 'sure' && asked.includes(answer)
      const learn = async () => void asked.push(answer)
      const partial = await store.partials.open(digestOf(Buffer.from(answer)), 20 * MiB, isSure, learn)
      try {
        for (let at = 0; at < 20 * MiB; at += quarterBytes) await partial.write(new Uint8Array(10), at)
      } finally {
        await partial.discard()
        await partial.close()
      }
    }
    await fetch('sure')
    // What it has made room for is in use again.
    const other = await store.partials.open(digestOf(Buffer.from('other')), 20 * MiB)
    await expect(fetch('none')).rejects.toMatchObject({ code: 'quota' })
    expect(asked).toEqual(['sure', 'none'])
    await other.discard()
    await other.close()
  })

  it('that can not be opened leaves no file', async () => {
    const { dataDir, open } = await reopenable()
    const store = await open()
    const name = digest.replace(':', '-')
    await mkdir(join(dataDir, 'blobs', 'partial', `${name}.state`))
    await expect(store.partials.open(digest, bytes.length)).rejects.toMatchObject({ code: 'io' })
    expect(await readdir(join(dataDir, 'blobs', 'partial'))).toEqual([`${name}.state`])
  })

  it('keeps the checkpoints that could not be written at once', async () => {
    const { dataDir, open } = await reopenable()
    const store = await open()
    const partial = await store.partials.open(digest, bytes.length)
    await partial.write(quarter(0), 0)
    partial.hold(0)
    const probe = await openFile(join(dataDir, 'blobs', 'partial', `${digest.replace(':', '-')}.state`))
    const write = vi.spyOn(Object.getPrototypeOf(probe), 'write')
    await probe.close()
    onTestFinished(() => write.mockRestore())
    write.mockRejectedValueOnce(Object.assign(new Error('full'), { code: 'ENOSPC' }))
    partial.saveState(1, state(1))
    await expect.poll(() => write.mock.calls.length, { timeout: 30_000 }).toBeGreaterThan(0)
    await partial.keep()
    await partial.close()
    const next = await (await open()).partials.open(digest, bytes.length)
    expect(next.knownState(1)).toEqual(state(1))
    await next.discard()
    await next.close()
  })

  it('ages out', async () => {
    const { dataDir, open } = await reopenable()
    const store = await open()
    const left = await store.partials.open(digest, bytes.length)
    await left.write(quarter(0), 0)
    left.hold(0)
    await left.keep()
    await left.close()
    await store.partials.prune(Date.now() - 1000)
    expect(store.partials.idle).toBe(1)
    await store.partials.prune(Date.now() + 1000)
    expect([store.partials.idle, await readdir(join(dataDir, 'blobs', 'partial'))]).toEqual([0, []])
  })
})

describe('the state of a partial blob', () => {
  it('is read back as it was written, and not for another size', () => {
    const written = PartialState.empty(bytes.length)
    written.held.set(3)
    written.setState(2, state(2))
    const encoded = written.encode()
    const read = PartialState.decode(encoded, bytes.length)
    expect([[...(read?.held.indexes() ?? [])], read?.state(1), read?.state(2)]).toEqual([[3], undefined, state(2)])
    expect(PartialState.sizeOf(encoded)).toBe(bytes.length)
    expect(PartialState.decode(encoded, bytes.length + 1)).toBeUndefined()
    expect(PartialState.decode(encoded.subarray(1), bytes.length)).toBeUndefined()
    expect(PartialState.sizeOf(Buffer.from('short'))).toBeUndefined()
  })
})

it('is not removed as one that is lost, or not to be kept, when it was opened meanwhile', async () => {
  const { open } = await reopenable()
  const store = await open()
  const first = await store.partials.open(digest, bytes.length)
  await first.write(bytes.subarray(0, quarterBytes), 0)
  first.hold(0)
  await first.keep()
  // It is looked at, and opened before that is over.
  const dropping = store.partials.dropUnless(() => false)
  const partial = await store.partials.open(digest, bytes.length)
  await dropping
  await partial.keep()
  expect(await store.partials.sizeOf(digest)).toBe(bytes.length)
})
