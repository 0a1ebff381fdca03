import { isIP } from 'node:net'
import { getDomain } from 'tldts'
import { UpstreamError } from './types.ts'

/**
 * Decides whether a token service may be asked, given that it gets the credentials of the registry which named it
 * (CVE-2026-33540 was the lack of this check): it is on the registry's own host or registrable domain, or configured.
 * Suffixes under which anybody can have a name (github.io, amazonaws.com regions) count as public suffixes. An address
 * has no domain, so an address or `localhost` is taken only where the registry itself is on that very host.
 * @param realm as in the challenge
 * @param authRealms configured URL prefixes
 * @throws {UpstreamError} refused
 */
export function checkRealm(
  realm: string | undefined,
  registry: string,
  endpoint: URL,
  authRealms: readonly string[],
): URL {
  const url = realm !== undefined && URL.canParse(realm) ? new URL(realm) : undefined
  const refuse = (reason: string): never => {
    throw new UpstreamError(
      'refused',
      `${registry} sends us for a token to ${url === undefined ? 'an unusable address' : url.origin + url.pathname}, ${reason}`,
    )
  }
  if (url === undefined || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '') {
    return refuse('which is not a plain http or https URL')
  }
  if (authRealms.some((prefix) => isWithin(url, new URL(prefix)))) return url
  if (endpoint.protocol === 'https:' && url.protocol === 'http:') {
    return refuse('which is not encrypted while the registry is; nothing was sent')
  }
  if (url.hostname === endpoint.hostname) return url
  const domain = registrableDomain(url.hostname)
  if (domain !== undefined && domain === registrableDomain(endpoint.hostname)) return url
  return refuse(
    `which is not on the registry's domain; nothing was sent. If that is right, add it to authRealms of this registry`,
  )
}

function registrableDomain(hostname: string): string | undefined {
  if (isIP(hostname.replace(/^\[|\]$/g, '')) !== 0) return undefined
  const name = hostname.replace(/\.$/, '')
  // A name with an empty label is nobody's: resolvers disagree about it.
  if (name.split('.').includes('')) return undefined
  return getDomain(name, { allowPrivateDomains: true }) ?? undefined
}

/** Whether `url` lies under `prefix`; a path counts in whole segments. */
function isWithin(url: URL, prefix: URL): boolean {
  if (url.origin !== prefix.origin) return false
  const folder = prefix.pathname.replace(/\/$/, '')
  return url.pathname === folder || url.pathname.startsWith(`${folder}/`)
}
