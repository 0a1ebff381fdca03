import { type Digest, isDigest, parseDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { isManifestMediaType } from '../oci/manifest.ts'
import { parseTag, repositoryText } from '../oci/name.ts'
import type { ContentRequest, ContentSource, ResolvedTag, TagRequest, TagResolver } from '../ports.ts'
import type { Names } from './addressing.ts'
import { parseTarget, type RegistryContext, type Target } from './context.ts'
import { sendBody } from './send.ts'

interface ManifestRouteOptions {
  readonly content: ContentSource
  readonly tags: TagResolver
  readonly names: Names
  readonly onServed: (bytes: number) => void
}

/** `GET` and `HEAD /v2/<name>/manifests/<reference>` (distribution-spec 1.1, end-3). */
export function manifestRoute({ content, tags, names, onServed }: ManifestRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parseTarget(ctx, names)
    const isOfPush = target.mayBeLocal && (ctx.method === 'HEAD' || names.local.isBegun(ctx.captures?.[0] ?? ''))
    const ofPush = isOfPush ? ofNewName(target) : rethrow
    const resolved = await resolve(tags, target, { isHead: ctx.method === 'HEAD' }).catch(ofPush)
    if (resolved.confirmedAt !== undefined) {
      ctx.set('Warning', staleWarning(target, resolved.confirmedAt, resolved))
      ctx.state.facts.confirmedAt = resolved.confirmedAt
    }
    if (resolved.warning !== undefined) ctx.set('Warning', `299 - "${resolved.warning}"`)
    if (ctx.method === 'HEAD') {
      const info = await inform(content, target, resolved).catch(ofTag(target, resolved.digest))
      if (info !== undefined) {
        ctx.state.facts.source = 'origin' in info ? info.origin : 'upstream'
        describe(ctx, resolved.digest, info)
        return
      }
    }
    const { opened, digest } = await open({ content, tags }, target, resolved)
      .catch(ofPush)
      .catch(ofTag(target, resolved.digest))
    try {
      ctx.state.facts.source = opened.origin
      describe(ctx, digest, opened)
      if (ctx.method !== 'HEAD') await sendBody(ctx, opened.read(0, undefined, target.signal), onServed)
    } finally {
      await opened.close()
    }
  }
}

/** What HEAD tells: by the manifest itself where it is here, else as upstream has it. Undefined where nobody says its type. */
async function inform(content: ContentSource, target: Target, resolved: ResolvedTag) {
  const request = contentRequest(target, resolved.digest)
  const held = await content.held(request)
  if (held !== undefined) return held
  // A HEAD by tag was answered by upstream's HEAD, which costs nobody a pull; nothing more is asked then.
  if (isComplete(resolved)) return resolved
  const info = await content.stat(request)
  return isManifestMediaType(info.mediaType) ? info : undefined
}

/** Statuses of content that can't be had, which may be because its digest is wrong. */
const unavailable: ReadonlySet<number> = new Set([404, 503])

/** Opens the manifest. A tag's digest is what HEAD said of it; where that can't be had, the tag's own bytes decide. */
async function open(
  { content, tags }: Pick<ManifestRouteOptions, 'content' | 'tags'>,
  target: Target,
  resolved: ResolvedTag,
) {
  const { digest, confirmedAt } = resolved
  try {
    return { opened: await content.open(contentRequest(target, digest)), digest }
  } catch (error) {
    const isMissing = error instanceof OciError && unavailable.has(error.status) && error.cause !== undefined
    const mayBeWrong = confirmedAt === undefined && isMissing
    if (!mayBeWrong || isDigest(target.reference) || target.signal.aborted) throw error
    // The tag's own bytes are kept, so that they are here also where the registry gives them by no digest.
    const again = await resolve(tags, target, { doubted: digest }).catch(() => {
      throw error
    })
    return { opened: await content.open(contentRequest(target, again.digest)), digest: again.digest }
  }
}

/** Statuses with which nobody says whether there is such a tag; Docker Hub refuses what it does not have. */
const untold: ReadonlySet<number> = new Set([401, 403, 503])

/**
 * A push may begin with HEAD of its tag, and is given up where the answer is another one than 200 or 404. So a name that may be
 * local, and of which nobody tells anything, is unknown; where a push has begun, or all was deleted, for GET as well. GET of others
 * says what is the matter.
 */
function ofNewName({ repository, reference }: Target) {
  return (error: unknown): never => {
    if (!(error instanceof OciError) || !untold.has(error.status)) throw error
    const text = `no ${reference} was pushed here, and what ${repositoryText(repository)} has is not known: ${error.message}`
    throw new OciError('MANIFEST_UNKNOWN', text, { cause: error.cause })
  }
}

function rethrow(error: unknown): never {
  throw error
}

/** An error for a client that asked for a tag names the tag: its digest is for those who may read it. */
function ofTag({ reference }: Target, digest: Digest) {
  return (error: unknown): never => {
    if (!(error instanceof OciError) || reference === digest) throw error
    const { code, status, detail, headers, cause } = error
    const message = error.message.replaceAll(`@${digest}`, `:${reference}`)
    throw new OciError(code, message, { status, detail, headers, cause })
  }
}

function contentRequest({ reference: _, ...asker }: Target, digest: Digest): ContentRequest {
  return { kind: 'manifest', digest, ...asker }
}

function describe(
  ctx: RegistryContext,
  digest: Digest,
  { mediaType, size }: Pick<ResolvedTag, 'mediaType' | 'size'>,
): void {
  ctx.status = 200
  ctx.set({ 'Docker-Content-Digest': digest, ETag: `"${digest}"` })
  ctx.set('Content-Type', mediaType ?? 'application/octet-stream')
  if (size !== undefined) ctx.length = size
}

async function resolve(
  tags: TagResolver,
  target: Target,
  asked: Pick<TagRequest, 'doubted' | 'isHead'>,
): Promise<ResolvedTag> {
  const { reference, ...request } = target
  if (isDigest(reference) || reference.includes(':')) return { digest: parseDigest(reference) }
  return tags.resolve({ ...request, ...asked, tag: parseTag(reference) })
}

/** Whether upstream has said all that a client wants to know of a tag. */
function isComplete(resolved: ResolvedTag): resolved is { digest: Digest; mediaType: string; size: number } {
  return isManifestMediaType(resolved.mediaType) && resolved.size !== undefined
}

/** distribution-spec 1.1, "Warnings": the way to tell a person something. */
function staleWarning(
  { repository, reference }: Target,
  confirmedAt: number,
  { confirmedBy }: Pick<ResolvedTag, 'confirmedBy'>,
): string {
  const when = new Date(confirmedAt).toISOString()
  const who = confirmedBy === undefined ? '' : `, as the peer ${confirmedBy} says`
  return `299 - "${repository.registry} can't be asked; ${reference} was last confirmed there at ${when}${who}"`
}
