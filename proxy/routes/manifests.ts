import type { KnownRegistries } from '../known-registries.ts'
import { type Digest, isDigest, parseDigest } from '../oci/digest.ts'
import { parseTag } from '../oci/name.ts'
import type { ContentSource, ResolvedTag, TagResolver } from '../ports.ts'
import { parseTarget, type RegistryContext, type Target } from './context.ts'
import { sendBody } from './send.ts'

interface ManifestRouteOptions {
  readonly content: ContentSource
  readonly tags: TagResolver
  readonly registries: KnownRegistries
  readonly onServed: (bytes: number) => void
}

/** `GET` and `HEAD /v2/<name>/manifests/<reference>` (distribution-spec 1.1, end-3). */
export function manifestRoute({ content, tags, registries, onServed }: ManifestRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parseTarget(ctx, registries)
    const resolved = await resolve(tags, target)
    const { digest, confirmedAt } = resolved
    const { repository, authorization, signal } = target
    const request = { kind: 'manifest', repository, digest, authorization, signal } as const
    if (confirmedAt !== undefined) ctx.set('Warning', staleWarning(target, confirmedAt))
    ctx.set({ 'Docker-Content-Digest': digest, ETag: `"${digest}"` })
    if (ctx.method === 'HEAD') {
      const info = isComplete(resolved) ? resolved : await content.stat(request)
      ctx.state.facts.source = 'origin' in info ? info.origin : 'upstream'
      describe(ctx, info)
      return
    }
    const opened = await content.open(request)
    try {
      ctx.state.facts.source = opened.origin
      describe(ctx, opened)
      await sendBody(ctx, opened.read(0, undefined, signal), onServed)
    } finally {
      await opened.close()
    }
  }
}

function describe(ctx: RegistryContext, { mediaType, size }: Pick<ResolvedTag, 'mediaType' | 'size'>): void {
  ctx.status = 200
  ctx.set('Content-Type', mediaType ?? 'application/octet-stream')
  if (size !== undefined) ctx.length = size
}

async function resolve(tags: TagResolver, target: Target): Promise<ResolvedTag> {
  const { reference, ...request } = target
  if (isDigest(reference) || reference.includes(':')) return { digest: parseDigest(reference) }
  return tags.resolve({ ...request, tag: parseTag(reference) })
}

/** A HEAD by tag was answered by upstream's HEAD, which costs nobody a pull; nothing more is asked then. */
function isComplete(resolved: ResolvedTag): resolved is { digest: Digest; mediaType: string; size: number } {
  return resolved.mediaType !== undefined && resolved.size !== undefined
}

/** distribution-spec 1.1, "Warnings": the way to tell a person something. */
function staleWarning({ repository, reference }: Target, confirmedAt: number): string {
  const when = new Date(confirmedAt).toISOString()
  return `299 - "${repository.registry} can't be asked; ${reference} was last confirmed there at ${when}"`
}
