import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { basename, join } from 'node:path'
import type { Content } from './image.ts'

/** As large as layerd's chunks. */
const PIECE_BYTES = 1024 * 1024

type Bencoded = string | number | Buffer | readonly Bencoded[] | { readonly [key: string]: Bencoded }

/** BEP 3. Keys of a dictionary are sorted. */
function bencode(value: Bencoded): Buffer {
  if (typeof value === 'number') return Buffer.from(`i${value}e`)
  if (typeof value === 'string') return bencode(Buffer.from(value))
  if (Buffer.isBuffer(value)) return Buffer.concat([Buffer.from(`${value.length}:`), value])
  const [open, items] = Array.isArray(value)
    ? ['l', value]
    : [
        'd',
        Object.entries(value)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .flat(),
      ]
  return Buffer.concat([Buffer.from(open), ...items.map(bencode), Buffer.from('e')])
}

/** A torrent of blobs that lie in a folder under the hexadecimal part of their digests. It names no tracker. */
export async function torrentOf(folder: string, blobs: readonly Content[]): Promise<Buffer> {
  const pieces: Buffer[] = []
  let hash = createHash('sha1')
  let hashed = 0
  const endPiece = () => {
    pieces.push(hash.digest())
    hash = createHash('sha1')
    hashed = 0
  }
  const names = blobs.map(({ digest }) => digest.slice('sha256:'.length))
  for (const name of names) {
    // Pieces go on across the ends of files.
    for await (const chunk of createReadStream(join(folder, name)) as AsyncIterable<Buffer>) {
      for (let offset = 0; offset < chunk.length; ) {
        const part = chunk.subarray(offset, offset + PIECE_BYTES - hashed)
        hash.update(part)
        hashed += part.length
        offset += part.length
        if (hashed === PIECE_BYTES) endPiece()
      }
    }
  }
  if (hashed > 0) endPiece()
  const files = blobs.map(({ size }, index) => ({ length: size, path: [names[index] ?? ''] }))
  return bencode({
    info: { name: basename(folder), files, 'piece length': PIECE_BYTES, pieces: Buffer.concat(pieces) },
  })
}
