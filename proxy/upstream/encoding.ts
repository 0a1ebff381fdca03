import { Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import { algorithmOf, createDigestHash, type Digest, finishDigest } from '../oci/digest.ts'
import type { HttpHeaders } from './exchange.ts'

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
}

/**
 * The codings that a body has to be freed of, in the order in which they were applied (RFC 9110, 8.4). We ask for none;
 * some servers and proxies compress all the same. Codings that are not known are the bytes' own affair: storage
 * services say `aws-chunked` of what they keep.
 */
export function codingsOf(headers: HttpHeaders): readonly string[] {
  const names = headers.get('content-encoding')?.toLowerCase().split(',') ?? []
  return names.map((name) => name.trim()).filter((name) => Object.hasOwn(decoders, name))
}

/** Undoes codings. @throws zlib's errors while it is read, where the body is not what it is said to be */
export async function* decoded(
  body: AsyncIterable<Uint8Array>,
  codings: readonly string[],
): AsyncGenerator<Uint8Array, void> {
  let stream: Readable = Readable.from(body, { objectMode: false })
  const parts = [stream]
  for (const coding of codings.toReversed()) {
    const decoder = decoders[coding]?.()
    if (decoder === undefined) continue
    const source = stream
    source.once('error', (error) => decoder.destroy(error))
    stream = source.pipe(decoder)
    parts.push(stream)
  }
  try {
    for await (const chunk of stream) yield chunk as Uint8Array
  } finally {
    for (const part of parts) part.destroy()
  }
}

/**
 * Undoes codings, and tells where the bytes show that they never were encoded: they can't be decoded from the first byte on, or
 * have the digest as they are. A body that was damaged on its way shows neither.
 * @param digest of the content, where the body is the whole of it
 */
export async function* decodedOrTold(
  body: AsyncIterable<Uint8Array>,
  codings: readonly string[],
  digest: Digest | undefined,
  onMislabelled: () => void,
): AsyncGenerator<Uint8Array, void> {
  const algorithm = digest === undefined ? undefined : algorithmOf(digest)
  const hash = algorithm === undefined ? undefined : createDigestHash(algorithm)
  const hashed = async function* () {
    for await (const chunk of body) {
      hash?.update(chunk)
      yield chunk
    }
  }
  let hasBegun = false
  try {
    for await (const chunk of decoded(hashed(), codings)) {
      hasBegun = true
      yield chunk
    }
  } catch (error) {
    if (!hasBegun && isDecodingError(error)) onMislabelled()
    throw error
  }
  if (algorithm !== undefined && hash !== undefined && finishDigest(algorithm, hash) === digest) onMislabelled()
}

/** Whether an error of a body is zlib's: the body is not what its `Content-Encoding` says. */
function isDecodingError(error: unknown): boolean {
  // A body that was cut off is another matter: `Z_BUF_ERROR`.
  return error instanceof Error && 'code' in error && /^(?:Z_DATA_|ERR__|ZSTD_)/.test(String(error.code))
}
