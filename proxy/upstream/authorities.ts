import * as tls from 'node:tls'

let hasAsked = false

/**
 * Trusts what the machine trusts, as other container tools do: a company's proxy that looks into TLS has its authority in the
 * system's store (or in `SSL_CERT_FILE`), and not in the list that comes with Node. Holds for the whole process, from the next
 * connection on. Reading the store takes a quarter of a second, so that it is read when a certificate is not trusted, once.
 * @returns whether others are trusted than before
 */
export function trustSystemAuthorities(): boolean {
  // Since Node 22.19 and 24.5.
  if (hasAsked || !('setDefaultCACertificates' in tls)) return false
  hasAsked = true
  const bundled = tls.getCACertificates('default')
  const known = new Set(bundled.map((certificate) => certificate.trim()))
  const system = tls.getCACertificates('system').filter((certificate) => !known.has(certificate.trim()))
  if (system.length > 0) tls.setDefaultCACertificates([...bundled, ...system])
  return system.length > 0
}
