import type { RegistryRequest } from './request.ts'
import { UpstreamError } from './types.ts'

/** What stands before the host in a redirect is as good as a signature in its query: it is for that URL. */
export function userOf({ username, password }: URL): string | undefined {
  if (username === '') return undefined
  try {
    const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    return `Basic ${Buffer.from(pair).toString('base64')}`
  } catch {
    return undefined
  }
}

/** Path and query of a redirect byte for byte, as signatures are made of those; undefined where they have to be encoded. */
export function pathAsWritten(location: string | undefined): string | undefined {
  const written = /^(?:[a-z]+:\/\/[^/?#]+)?(\/[^#]*)/i.exec(location ?? '')?.[1]
  const isPlain = written !== undefined && /^[!-~]+$/.test(written) && !/^\/\/|\\/.test(written)
  return isPlain ? written : undefined
}

/** Where a redirect leads. @throws {UpstreamError} broken, where it can't or must not be followed */
export function redirectTarget(
  { registry, digest, what }: RegistryRequest,
  from: URL,
  location: string | undefined,
): URL {
  const target = location !== undefined && URL.canParse(location, from.href) ? new URL(location, from) : undefined
  if (target === undefined || !['http:', 'https:'].includes(target.protocol)) {
    throw new UpstreamError('broken', `${registry.name} redirects to no usable address for ${what}`)
  }
  const { endpoint } = registry
  if (
    target.protocol === 'http:' &&
    endpoint.protocol === 'https:' &&
    target.hostname === endpoint.hostname &&
    target.port === ''
  ) {
    // A registry behind a proxy that ends TLS does not know how it is reached.
    const same = new URL(endpoint)
    same.pathname = target.pathname
    same.search = target.search
    return same
  }
  const isAllowed = registry.insecureRedirects && digest !== undefined
  if (target.protocol === 'http:' && endpoint.protocol === 'https:' && !isAllowed) {
    const hint = digest === undefined ? '' : '; "insecureRedirects" of this registry allows it for what has a digest'
    const message = `${registry.name} redirects to ${target.host} without encryption for ${what}, which is not followed${hint}`
    throw new UpstreamError('broken', message)
  }
  return target
}
