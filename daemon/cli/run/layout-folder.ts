import { createReadStream } from 'node:fs'
import { access, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pack as newPack, type Pack } from 'tar-stream'
import { Failure } from '../failure.ts'

/** Bytes that are read at once. */
const readBytes = 1024 * 1024

/** An OCI layout (image-spec 1.1) as a tar archive. @throws {Failure} where the folder is none */
export async function packLayout(folder: string): Promise<AsyncIterable<Uint8Array>> {
  await access(join(folder, 'index.json')).catch(() => {
    throw new Failure(`${folder} is no OCI layout: it has no index.json`)
  })
  const names = ['index.json']
  for (const algorithm of await readdir(join(folder, 'blobs')).catch(() => [])) {
    for (const hex of await readdir(join(folder, 'blobs', algorithm)).catch(() => []))
      names.push(`blobs/${algorithm}/${hex}`)
  }
  return packed(folder, names)
}

async function* packed(folder: string, names: readonly string[]): AsyncGenerator<Uint8Array> {
  const pack = newPack()
  const filling = fill(pack, folder, names).catch((error: unknown) => {
    pack.destroy(error as Error)
  })
  try {
    yield* pack
  } finally {
    pack.destroy()
    await filling
  }
}

async function fill(pack: Pack, folder: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(folder, name)
    const { size } = await stat(path)
    const entry = pack.entry({ name, size })
    const failed = new Promise<never>((_, reject) => {
      for (const event of ['error', 'close'] as const) entry.once(event, reject)
    })
    failed.catch(() => {})
    if (size > 0) {
      for await (const piece of createReadStream(path, { end: size - 1, highWaterMark: readBytes })) {
        if (entry.write(piece)) continue
        await Promise.race([new Promise<void>((resolve) => entry.once('drain', resolve)), failed])
      }
    }
    entry.end()
    if (pack.destroyed) return
  }
  pack.finalize()
}
