import { contentType, statusError } from './answers.ts'
import type { ContentContext } from './content.ts'
import { decoded } from './encoding.ts'
import { abortedError, reasonOf } from './errors.ts'
import { codingsIn } from './examine.ts'
import { readAll } from './exchange.ts'
import type { RegistryRequest } from './request.ts'
import { type Access, UpstreamError } from './types.ts'

/** Lists grow with a repository; one without end is not kept in memory. */
const maxListBytes = 16 * 1024 * 1024

/** What the API defines for lists (distribution-spec 1.1, "Content Discovery"). */
const listHeaders: readonly string[] = ['content-type', 'link', 'oci-filters-applied']

/** What registries answer that don't know the referrers API; 404 is what clients know as that. */
const unknownApi: ReadonlySet<number> = new Set([400, 405, 406, 415, 501])

/** What browsers show as pages. */
const pageTypes: ReadonlySet<string> = new Set(['text/html', 'application/xhtml+xml'])

interface List {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
  readonly access: Access
}

/**
 * Fetches `tags/list` or `referrers/<digest>`: any 2xx or 404 as it is.
 * @throws {UpstreamError}
 */
export async function fetchList({ sender, timing }: ContentContext, request: RegistryRequest): Promise<List> {
  const { registry, what, path, signal } = request
  const isReferrers = path.startsWith('referrers/')
  const response = await sender.send(request)
  const { status, access } = response
  if (isReferrers && unknownApi.has(status)) {
    response.body.cancel()
    return noReferrers(access)
  }
  if (status !== 404 && (status < 200 || status > 299)) {
    throw await statusError(response, registry.name, what, timing.now())
  }
  const codings = codingsIn(response.headers, registry)
  const bytes = codings.length > 0 ? decoded(response.body, codings) : response.body
  const body = await readAll(bytes, maxListBytes).catch((error: unknown) => {
    if (signal.aborted) throw abortedError(signal)
    throw new UpstreamError('broken', `${registry.name} broke off ${what}: ${reasonOf(error)}`, { cause: error })
  })
  if (body === undefined) {
    throw new UpstreamError('broken', `${registry.name} sends more than ${maxListBytes} bytes for ${what}`)
  }
  const headers: Record<string, string> = {}
  for (const name of listHeaders) {
    const value = response.headers.get(name)
    if (value !== undefined) headers[name] = value
  }
  // A list is one by its bytes, whatever it is called; as a page it would be shown by a browser.
  const type = pageTypes.has(contentType(response.headers) ?? '') ? { 'content-type': 'application/json' } : {}
  if (status === 404 || isJson(body)) return { status, headers: { ...headers, ...type }, body, access }
  if (isReferrers) return noReferrers(access)
  throw new UpstreamError('broken', `${registry.name} answered with something for ${what} that is no list`)
}

function isJson(body: Buffer): boolean {
  try {
    return typeof JSON.parse(body.toString('utf8')) === 'object'
  } catch {
    return false
  }
}

function noReferrers(access: Access): List {
  const body = JSON.stringify({ errors: [{ code: 'UNSUPPORTED', message: 'the registry does not list referrers' }] })
  return { status: 404, headers: { 'content-type': 'application/json' }, body: Buffer.from(body), access }
}
