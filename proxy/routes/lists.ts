import type { KnownRegistries } from '../known-registries.ts'
import { parseDigest } from '../oci/digest.ts'
import type { ListRequest, ListSource } from '../ports.ts'
import { parseTarget, type RegistryContext } from './context.ts'

interface ListRouteOptions {
  readonly lists: ListSource
  readonly registries: KnownRegistries
}

/** `GET /v2/<name>/tags/list` (distribution-spec 1.1, end-8). */
export function tagListRoute({ lists, registries }: ListRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parseTarget(ctx, registries)
    await passOn(ctx, lists, { ...target, resource: 'tags/list', query: pick(ctx, ['n', 'last']) })
  }
}

/** `GET /v2/<name>/referrers/<digest>` (distribution-spec 1.1, end-12). */
export function referrersRoute({ lists, registries }: ListRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parseTarget(ctx, registries)
    const resource = `referrers/${parseDigest(target.reference)}` as const
    await passOn(ctx, lists, { ...target, resource, query: pick(ctx, ['artifactType', 'n', 'last', 'nextToken']) })
  }
}

function pick(ctx: RegistryContext, names: readonly string[]): URLSearchParams {
  const given = new URLSearchParams(ctx.querystring)
  return new URLSearchParams([...given].filter(([name]) => names.includes(name)))
}

async function passOn(ctx: RegistryContext, lists: ListSource, request: ListRequest): Promise<void> {
  const { status, headers, body } = await lists.list(request)
  ctx.state.facts.source = 'upstream'
  ctx.state.facts.bytes = body.length
  ctx.status = status
  ctx.body = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  for (const name of ['content-type', 'oci-filters-applied']) {
    const value = headers[name]
    if (value !== undefined) ctx.set(name, value)
  }
  const next = nextPage(headers.link, ctx)
  if (next !== undefined) ctx.set('Link', next)
}

/** Upstream's link to the next page, leading through this mirror: the path and `ns` of the request, the query of the link. */
function nextPage(link: string | undefined, ctx: Pick<RegistryContext, 'path' | 'query'>): string | undefined {
  const target = /<([^>]{1,4096})>\s*;[^,]*rel="?next"?/i.exec(link ?? '')?.[1]
  if (target === undefined || !URL.canParse(target, 'http://upstream')) return undefined
  const query = new URL(target, 'http://upstream').searchParams
  if (typeof ctx.query.ns === 'string') query.set('ns', ctx.query.ns)
  return `<${ctx.path}?${query}>; rel="next"`
}
