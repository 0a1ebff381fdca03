import { parseDigest } from '../oci/digest.ts'
import { parseRanges, resolveRanges } from '../oci/range.ts'
import type { Content, ContentSource } from '../ports.ts'
import type { Names } from './addressing.ts'
import { parseTarget, type RegistryContext } from './context.ts'
import { multipart } from './multipart.ts'
import { sendBody } from './send.ts'

interface BlobRouteOptions {
  readonly content: ContentSource
  readonly names: Names
  readonly onServed: (bytes: number) => void
}

/** What stands in a blob is said by the manifest that names it. */
const blobType = 'application/octet-stream'

/** `GET` and `HEAD /v2/<name>/blobs/<digest>` (distribution-spec 1.1, end-2), with ranges. */
export function blobRoute({ content, names, onServed }: BlobRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const { reference, signal, ...asker } = parseTarget(ctx, names)
    const digest = parseDigest(reference)
    const request = { kind: 'blob', digest, ...asker, signal } as const
    ctx.set({ 'Docker-Content-Digest': digest, 'Accept-Ranges': 'bytes', ETag: `"${digest}"` })
    ctx.type = blobType
    if (ctx.method === 'HEAD') {
      const { size, origin } = await content.stat(request)
      ctx.state.facts.source = origin
      ctx.status = 200
      if (size !== undefined) ctx.length = size
      return
    }
    const opened = await content.open(request)
    const sending = new AbortController()
    try {
      ctx.state.facts.source = opened.origin
      const answer = bodyOf(ctx, opened, AbortSignal.any([signal, sending.signal]))
      ctx.status = answer.status
      if (answer.length !== undefined) ctx.length = answer.length
      await sendBody(ctx, answer.body, onServed, () => opened.isComing?.() ?? true)
    } finally {
      // Whoever waits for a byte that does not come is not waited for.
      sending.abort(new Error('the answer is over'))
      await opened.close()
    }
  }
}

interface BlobBody {
  readonly status: 200 | 206
  /** Bytes, where they are known. */
  readonly length: number | undefined
  readonly body: AsyncIterable<Uint8Array>
}

/** The whole, or what the `Range` header asks for; sets the headers that say so. @throws {OciError} RANGE_INVALID */
function bodyOf(ctx: RegistryContext, content: Content, signal: AbortSignal): BlobBody {
  const { size } = content
  const whole = (): BlobBody => ({ status: 200, length: size, body: content.read(0, undefined, signal) })
  const specs = parseRanges(ctx.get('range'))
  // Where there is no byte to begin at, a range is ignored: containerd 2.1 sends "bytes=0-" for empty blobs too.
  if (specs === undefined || size === undefined || size === 0) return whole()
  const ranges = resolveRanges(specs, size)
  const [first] = ranges ?? []
  if (ranges === undefined || first === undefined) return whole()
  if (ranges.length === 1) {
    const { start, end } = first
    ctx.set('Content-Range', `bytes ${start}-${end}/${size}`)
    return { status: 206, length: end + 1 - start, body: content.read(start, end, signal) }
  }
  const parts = multipart(content, size, ranges, blobType, signal)
  if (parts === undefined) return whole()
  ctx.set('Content-Type', parts.contentType)
  return { status: 206, length: parts.length, body: parts.body }
}
