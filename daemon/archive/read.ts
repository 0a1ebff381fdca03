import { posix } from 'node:path'
import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { extract as newExtract } from 'tar-stream'
import { BadArchive } from './errors.ts'

/** A file, or another name for one, in an archive. */
export interface ArchiveEntry {
  /** Without a beginning `./` or `/`. It is a name to look things up by, never a path on this machine. */
  readonly name: string
  /** Bytes. */
  readonly size: number
  /** The name of the file that a link means. */
  readonly target: string | undefined
  /** To be read before the next entry is asked for; what is not read is skipped. */
  readonly body: AsyncIterable<Uint8Array>
}

/** An image has some hundred files. */
const maxEntries = 20_000

/** Bytes of a name, or of what a link means. Names are remembered until the end; an image's have a hundred characters. */
const maxNameBytes = 1024

/** Bytes between two entries: long names, and the zeros at the end. A name that takes more is never put together in memory. */
const maxBetween = 1024 * 1024

/** Bytes by which a compression is known. */
const magicBytes = 6

const formats = [
  { name: 'gzip', magic: [0x1f, 0x8b], open: () => createGunzip() },
  { name: 'zstd', magic: [0x28, 0xb5, 0x2f, 0xfd], open: () => createZstdDecompress() },
  { name: 'bzip2', magic: [0x42, 0x5a, 0x68], open: undefined },
  { name: 'xz', magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], open: undefined },
]

/**
 * Reads a tar archive while it comes, compressed by gzip or zstd or not. Entries that are neither files nor links are left out.
 * @throws {BadArchive}; what `bytes` throws
 */
export async function* readArchive(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveEntry> {
  const extract = newExtract({ allowUnknownFormat: true })
  const window = new Window()
  let failure: unknown
  extract.once('error', (error) => {
    failure = error
  })
  const closed = new Promise<void>((resolve) => extract.once('close', resolve))
  const feeding = feed(extract, plain(bytes), window).catch((error: unknown) => {
    extract.destroy(error as Error)
  })
  /** The first error is the reason of all others. */
  const reasonFor = async (error: unknown) => {
    extract.destroy(error as Error)
    await closed
    return explain(failure ?? error)
  }
  let entries = 0
  try {
    for await (const entry of extract) {
      const { name, size = 0, type, linkname } = entry.header
      if (!Number.isSafeInteger(size) || size < 0) throw new BadArchive(`the size of ${shown(name)} in it is no number`)
      window.entry(size)
      if (++entries > maxEntries) throw new BadArchive(`the archive has more than ${maxEntries} files`)
      for (const one of [name, linkname ?? '']) {
        if (Buffer.byteLength(one) > maxNameBytes)
          throw new BadArchive(`${shown(one)} in it is longer than the ${maxNameBytes} bytes that a name may have`)
      }
      const isLink = type === 'symlink' || type === 'link'
      if (isLink || type === 'file' || type === 'contiguous-file') {
        const target = isLink ? targetOf(name, type, linkname ?? '') : undefined
        yield { name: plainName(name), size: isLink ? 0 : size, target, body: bodyOf(entry, reasonFor) }
      }
      // Of an entry that was read to its end nothing more comes.
      for await (const _ of entry);
    }
  } catch (error) {
    throw await reasonFor(error)
  } finally {
    extract.destroy()
    await feeding
  }
}

/** An entry's name as it may stand in a message. */
export function shown(name: string): string {
  return JSON.stringify(name.length > 100 ? `${name.slice(0, 100)}…` : name)
}

/** How much may be given to the parser before it has to find an entry. */
class Window {
  #fed = 0
  #limit = maxBetween

  /** @throws {BadArchive} */
  feeds(bytes: number): void {
    this.#fed += bytes
    if (this.#fed - bytes > this.#limit)
      throw new BadArchive('the archive has a name that is too long, or is no tar archive')
  }

  entry(size: number): void {
    this.#limit = this.#fed + size + maxBetween
  }
}

type Extract = ReturnType<typeof newExtract>

async function feed(extract: Extract, bytes: AsyncIterable<Uint8Array>, window: Window): Promise<void> {
  for await (const piece of bytes) {
    window.feeds(piece.length)
    if (extract.destroyed) return
    if (extract.write(piece)) continue
    const { promise, resolve } = Promise.withResolvers<void>()
    extract.once('drain', resolve)
    extract.once('close', resolve)
    await promise
    extract.off('drain', resolve)
    extract.off('close', resolve)
  }
  extract.end()
}

async function* plain(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const pieces = bytes[Symbol.asyncIterator]()
  try {
    let head = Buffer.alloc(0)
    while (head.length < magicBytes) {
      const next = await pieces.next()
      if (next.done === true) break
      head = Buffer.concat([head, next.value])
    }
    if (head.length === 0) throw new BadArchive('the archive is empty')
    const rest = (async function* () {
      yield head
      yield* { [Symbol.asyncIterator]: () => pieces }
    })()
    const format = formats.find(({ magic }) => magic.every((byte, index) => head[index] === byte))
    if (format === undefined) return yield* rest
    if (format.open === undefined)
      throw new BadArchive(
        `archives compressed by ${format.name} are not read: decompress it, as by "${format.name} -dc FILE | layerd import -"`,
      )
    yield* decompressed(rest, format.open(), format.name)
  } finally {
    await pieces.return?.()
  }
}

async function* decompressed(
  bytes: AsyncIterable<Uint8Array>,
  decompress: NodeJS.ReadWriteStream & { destroy(error?: Error): unknown },
  name: string,
): AsyncGenerator<Uint8Array> {
  const source = Readable.from(bytes, { objectMode: false })
  let cut: unknown
  source.once('error', (error) => {
    cut = error
    decompress.destroy(error)
  })
  source.pipe(decompress)
  try {
    for await (const piece of decompress) yield piece as Uint8Array
  } catch (error) {
    if (cut !== undefined) throw cut
    throw new BadArchive(`the archive can't be decompressed (${name}): ${(error as Error).message}`)
  } finally {
    source.destroy()
    decompress.destroy()
  }
}

/** Whoever reads a body hears what is wrong with its archive. */
async function* bodyOf(
  entry: AsyncIterable<Uint8Array>,
  reasonFor: (error: unknown) => Promise<unknown>,
): AsyncGenerator<Uint8Array> {
  try {
    yield* entry
  } catch (error) {
    throw await reasonFor(error)
  }
}

function plainName(name: string): string {
  return posix.normalize(name).replace(/^\/+/, '')
}

/** Symbolic links begin at their own folder, hard ones at the root of the archive. */
function targetOf(name: string, type: 'symlink' | 'link', target: string): string {
  return plainName(type === 'link' ? target : posix.join(posix.dirname(plainName(name)), target))
}

function explain(error: unknown): unknown {
  const { message } = error as Error
  if (message === 'Unexpected end of data') return new BadArchive('the archive ends too early: it was cut off')
  if (message.startsWith('Invalid tar header')) return new BadArchive('that is no tar archive, or a damaged one')
  return error
}
