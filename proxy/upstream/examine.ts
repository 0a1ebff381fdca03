import { algorithmOf, type Digest, digestOf, isDigest } from '../oci/digest.ts'
import { manifestMediaType } from '../oci/manifest.ts'
import { contentType, isWhole } from './answers.ts'
import { codingsOf, decoded } from './encoding.ts'
import type { HttpHeaders } from './exchange.ts'
import type { Registry } from './registry.ts'
import type { RegistryRequest, RegistryResponse } from './request.ts'

/** What is called HTML is read into memory up to this size, to see whether it is the content or a page for people. */
const maxPageBytes = 1024 * 1024

/** `Docker-Content-Digest`, where it is a digest. */
export function digestHeader(headers: HttpHeaders): Digest | undefined {
  const text = headers.get('docker-content-digest') ?? ''
  return isDigest(text) ? text : undefined
}

/** The codings to undo of a registry's answer: none of one whose `Content-Encoding` has turned out to mean nothing. */
export function codingsIn(headers: HttpHeaders, { habits }: Pick<Registry, 'habits'>): readonly string[] {
  return habits.has('mislabels') ? [] : codingsOf(headers)
}

/**
 * What is called HTML may be the content all the same, or a page for people (a login, a maintenance notice): the bytes decide.
 * @returns the answer, or what is wrong with it
 */
export async function examined(
  response: RegistryResponse,
  request: Pick<RegistryRequest, 'registry' | 'digest'>,
): Promise<RegistryResponse | string> {
  const { status, headers } = response
  const { digest } = request
  if (!isWhole(status) && status !== 206) return `status ${status}`
  if (status === 206 || contentType(headers) !== 'text/html') return response
  if (digest !== undefined && digestHeader(headers) === digest) return response
  const codings = codingsIn(headers, request.registry)
  const body = codings.length > 0 ? decoded(response.body, codings) : response.body
  const { first, all } = await peek(body, maxPageBytes)
  const isContent =
    first === undefined ||
    (digest === undefined
      ? manifestMediaType(first, undefined) !== undefined
      : digestOf(first, algorithmOf(digest)) === digest)
  if (!isContent) return 'an HTML page'
  const plain: Record<string, string | undefined> = { 'content-encoding': undefined }
  if (codings.length > 0) plain['content-length'] = undefined
  return {
    ...response,
    headers: headers.with(plain),
    body: { [Symbol.asyncIterator]: all, cancel: () => response.body.cancel() },
  }
}

/** Reads a body ahead. `first` is all of it, where that is at most `limit` bytes; `all` gives the whole in any case. */
async function peek(body: AsyncIterable<Uint8Array>, limit: number) {
  const chunks: Uint8Array[] = []
  const rest = body[Symbol.asyncIterator]()
  let length = 0
  let isOver = false
  while (length <= limit && !isOver) {
    const next = await rest.next()
    if (next.done === true) isOver = true
    else {
      chunks.push(next.value)
      length += next.value.length
    }
  }
  return {
    first: isOver ? Buffer.concat(chunks) : undefined,
    async *all(): AsyncGenerator<Uint8Array, void> {
      yield* chunks
      try {
        for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value
      } finally {
        await rest.return?.()
      }
    },
  }
}
