import { parseDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { nextLink } from '../oci/link.ts'
import type { ListRequest, ListSource } from '../ports.ts'
import type { Names } from './addressing.ts'
import { parseTarget, type RegistryContext } from './context.ts'
import { answerInTurn } from './send.ts'

/** A longer one does not fit into the URL of the next request. */
const maxCursorLength = 12 * 1024

interface ListRouteOptions {
  readonly lists: ListSource
  readonly names: Names
}

/** `GET /v2/<name>/tags/list` (distribution-spec 1.1, end-8). */
export function tagListRoute({ lists, names }: ListRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parseTarget(ctx, names)
    await answerInTurn(ctx, () => passOn(ctx, lists, { ...target, resource: 'tags/list', query: queryOf(ctx) }))
  }
}

/** `GET /v2/<name>/referrers/<digest>` (distribution-spec 1.1, end-12). */
export function referrersRoute({ lists, names }: ListRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parseTarget(ctx, names)
    const resource = `referrers/${parseDigest(target.reference)}` as const
    await answerInTurn(ctx, () => passOn(ctx, lists, { ...target, resource, query: queryOf(ctx) }))
  }
}

/** The query as it came, but for the parameter that is the mirror's own: a cursor is what upstream takes for one. */
function queryOf({ querystring }: { readonly querystring: string }): string {
  const parts = querystring.split('&').filter((part) => part !== '' && !/^ns(?:=|$)/i.test(decodedName(part)))
  return parts.join('&')
}

function decodedName(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

async function passOn(ctx: RegistryContext, lists: ListSource, request: ListRequest): Promise<void> {
  const { status, headers, body, origin = 'upstream', confirmedAt } = await lists.list(request)
  ctx.state.facts.source = origin
  if (confirmedAt !== undefined) {
    const when = new Date(confirmedAt).toISOString()
    const what = confirmedAt === 0 ? 'nothing is known of this list' : `this list is of ${when}, and may lack some`
    ctx.set('Warning', `299 - "${request.repository.registry} can't be asked; ${what}"`)
    if (confirmedAt > 0) ctx.state.facts.confirmedAt = confirmedAt
  }
  ctx.state.facts.bytes = body.length
  ctx.status = status
  ctx.body = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  const { 'content-type': type = '', 'oci-filters-applied': filters } = headers
  // A list is JSON, whatever it is called.
  ctx.set('Content-Type', /^application\/(?:[\w.+-]+\+)?json *(?:;|$)/i.test(type) ? type : 'application/json')
  if (filters !== undefined) ctx.set('OCI-Filters-Applied', filters)
  const next = nextPage(headers.link, ctx)
  if (next !== undefined) ctx.set('Link', next)
}

/**
 * Upstream's link to the next page, leading through this mirror: the path and `ns` of the request, the query of the link.
 * @throws {OciError} where that would be this very page again, and the list be cut off without a word or never end
 */
function nextPage(
  link: string | undefined,
  ctx: Pick<RegistryContext, 'path' | 'query' | 'querystring'>,
): string | undefined {
  const target = nextLink(link)
  if (target === undefined) return undefined
  // Some clients take what stands between brackets to its first semicolon.
  const cursor = queryOf({ querystring: /\?([^#]*)/.exec(target)?.[1] ?? '' }).replaceAll(';', '%3B')
  const isUsable = /^[!-~]+$/.test(cursor) && cursor.length <= maxCursorLength
  if (!isUsable || cursor === queryOf(ctx)) {
    throw new OciError('UNAVAILABLE', 'the registry continues the list in a way that a mirror can not pass on')
  }
  const [ns = ''] = [ctx.query.ns].flat()
  const namespace = ns === '' ? '' : `ns=${encodeURIComponent(ns)}`
  const parts = [cursor, namespace].filter((part) => part !== '')
  return `<${ctx.path}?${parts.join('&')}>; rel="next"`
}
