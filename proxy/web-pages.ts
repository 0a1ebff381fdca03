import type { IncomingMessage } from 'node:http'
import { isLocalhost, plainAddress } from './addresses.ts'

/** How a server may be called in the `Host` of a request, beside what any server may be called. */
export interface ServerNames {
  /** Host of the address that it listens on. */
  readonly listen: string
  /** Configured ones: names, and `*.domain` for all names below one. */
  readonly hosts: readonly string[]
}

/**
 * For all answers: a browser that shows one as a page runs nothing of it, takes it for what its type says, and lets no other
 * site use it (HTML "sandbox", CSP 3, Fetch "Cross-Origin-Resource-Policy").
 */
export const pageHeaders: Readonly<Record<string, string>> = {
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
}

/**
 * Why a request is not answered, as it may come from a web page that somebody on this network has open.
 *
 * - Its `Host` is a name that is not known to be this server's: whoever owns that name can make it lead here, and a page of that
 *   name could read all answers (DNS rebinding).
 * - Its browser says that a page of another site made it (Fetch Metadata, `Origin`, or `Referer` where there is neither). Such a
 *   page can't read the answer, but the node would fetch and keep content. Links are refused as well. Pages of another port are
 *   of another origin though they are of the same site.
 *
 * @returns undefined where it may be answered; a text for a person otherwise
 */
export function refusalOf(request: IncomingMessage, names: ServerNames): string | undefined {
  const { headers } = request
  const { host } = headers
  // HTTP/1.0 has no Host, and no browser leaves it out.
  if (host !== undefined && host !== '' && !isOwnHost(host, names)) {
    return `this server is not known as ${JSON.stringify(host.slice(0, 100))}: if it is, add the name to registry.hosts`
  }
  const site = headers['sec-fetch-site']
  const isForeign =
    site !== undefined
      ? site !== 'none' && site !== 'same-origin'
      : [headers.origin, headers.referer].some((from) => from !== undefined && !isOfHost(from, host))
  return isForeign
    ? 'a web page of another site made this request; only programs and this address are answered'
    : undefined
}

/**
 * Whether a browser sent a request without a word of what made it: fetch metadata come only with https and loopback, and a page
 * can leave out where it is from.
 */
export function isUnexplainedBrowser({ headers }: IncomingMessage): boolean {
  return headers['sec-fetch-site'] === undefined && /^mozilla\//i.test(headers['user-agent'] ?? '')
}

/**
 * Whether a `Host` may be this server's. An address is: nobody can make it lead elsewhere, and a node need not know by which one it is
 * reached (a container's host, a virtual address). The port is not looked at: it may be another one behind a port map.
 */
function isOwnHost(host: string, { listen, hosts }: ServerNames): boolean {
  const name = /^(\[[^\]]+\]|[^:]+)(?::\d{0,5})?$/.exec(host.toLowerCase())?.[1]?.replace(/\.$/, '')
  if (name === undefined) return false
  return (
    plainAddress(name) !== undefined || isLocalhost(name) || [listen, ...hosts].some((known) => isNamed(name, known))
  )
}

function isNamed(name: string, known: string): boolean {
  const lower = known.toLowerCase().replace(/\.$/, '')
  return lower.startsWith('*.') ? name.endsWith(lower.slice(1)) && name.length >= lower.length : name === lower
}

/** Whether an `Origin` or `Referer` is of the server that is asked. Without `Host` nothing is. */
function isOfHost(from: string, host: string | undefined): boolean {
  return URL.canParse(from) && host !== undefined && new URL(from).host === host.toLowerCase()
}
