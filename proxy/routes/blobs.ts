import type { KnownRegistries } from '../known-registries.ts'
import { parseDigest } from '../oci/digest.ts'
import { parseRange, resolveRange } from '../oci/range.ts'
import type { ContentSource } from '../ports.ts'
import { parseTarget, type RegistryContext } from './context.ts'
import { sendBody } from './send.ts'

interface BlobRouteOptions {
  readonly content: ContentSource
  readonly registries: KnownRegistries
  readonly onServed: (bytes: number) => void
}

/** `GET` and `HEAD /v2/<name>/blobs/<digest>` (distribution-spec 1.1, end-2), with a single range. */
export function blobRoute({ content, registries, onServed }: BlobRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const { repository, reference, authorization, signal } = parseTarget(ctx, registries)
    const digest = parseDigest(reference)
    const request = { kind: 'blob', repository, digest, authorization, signal } as const
    ctx.set({ 'Docker-Content-Digest': digest, 'Accept-Ranges': 'bytes', ETag: `"${digest}"` })
    ctx.type = 'application/octet-stream'
    if (ctx.method === 'HEAD') {
      const { size, origin } = await content.stat(request)
      ctx.state.facts.source = origin
      ctx.status = 200
      if (size !== undefined) ctx.length = size
      return
    }
    const opened = await content.open(request)
    try {
      const { size, origin } = opened
      ctx.state.facts.source = origin
      // Where there is no byte to begin at, a range is ignored: containerd 2.1 sends "bytes=0-" for empty blobs too.
      const spec = size === undefined || size === 0 ? undefined : parseRange(ctx.get('range'))
      const range = spec && resolveRange(spec, size as number)
      ctx.status = range === undefined ? 200 : 206
      if (range !== undefined) ctx.set('Content-Range', `bytes ${range.start}-${range.end}/${size}`)
      if (size !== undefined) ctx.length = range === undefined ? size : range.end - range.start + 1
      await sendBody(ctx, opened.read(range?.start ?? 0, range?.end, signal), onServed)
    } finally {
      await opened.close()
    }
  }
}
