import { createReadStream } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type NewEntry, writeArchive } from '../../archive/write.ts'
import { Failure } from '../failure.ts'

/** Bytes that are read at once. */
const readBytes = 1024 * 1024

/** An OCI layout (image-spec 1.1) as a tar archive. @throws {Failure} where the folder is none */
export async function packLayout(folder: string): Promise<AsyncIterable<Uint8Array>> {
  await access(join(folder, 'index.json')).catch(() => {
    throw new Failure(`${folder} is no OCI layout: it has no index.json`)
  })
  return writeArchive(filesOf(folder))
}

async function* filesOf(folder: string): AsyncGenerator<NewEntry> {
  yield await fileOf(folder, 'index.json')
  for (const algorithm of await readdir(join(folder, 'blobs')).catch(() => [])) {
    for (const hex of await readdir(join(folder, 'blobs', algorithm)).catch(() => [])) {
      yield await fileOf(folder, `blobs/${algorithm}/${hex}`)
    }
  }
}

async function fileOf(folder: string, name: string): Promise<NewEntry> {
  const path = join(folder, name)
  const { size } = await stat(path)
  return { name, size, body: size === 0 ? [] : createReadStream(path, { end: size - 1, highWaterMark: readBytes }) }
}
