import * as tls from 'node:tls'
import type { Dispatcher } from 'undici'
import { isCertificateError } from './errors.ts'
import { exchange, type HttpRequest, type HttpResponse } from './exchange.ts'

let hasAsked = false
/** Since when more is trusted, in ms of `performance.now()`. */
let trustedAt = Number.NEGATIVE_INFINITY

/**
 * As {@link exchange}. Where a certificate is not trusted, it may be the machine's own authorities that vouch for it: the host is asked
 * once more when they are trusted.
 */
export async function exchangeTrusting(dispatcher: Dispatcher, request: HttpRequest): Promise<HttpResponse> {
  const began = performance.now()
  try {
    return await exchange(dispatcher, request)
  } catch (error) {
    if (request.signal.aborted || !isCertificateError(error)) throw error
    trustSystemAuthorities()
    // Another request may have read the store while this one was under way.
    if (trustedAt < began) throw error
    return await exchange(dispatcher, request)
  }
}

/**
 * Trusts what the machine trusts, as other container tools do: a company's proxy that looks into TLS has its authority in the
 * system's store (or in `SSL_CERT_FILE`), and not in the list that comes with Node. Holds for the whole process, from the next
 * connection on. Reading the store takes a quarter of a second, so that it is read when a certificate is not trusted, once.
 */
function trustSystemAuthorities(): void {
  // Since Node 22.19 and 24.5.
  if (hasAsked || !('setDefaultCACertificates' in tls)) return
  hasAsked = true
  const bundled = tls.getCACertificates('default')
  const known = new Set(bundled.map((certificate) => certificate.trim()))
  const system = tls.getCACertificates('system').filter((certificate) => !known.has(certificate.trim()))
  if (system.length === 0) return
  tls.setDefaultCACertificates([...bundled, ...system])
  trustedAt = performance.now()
}
