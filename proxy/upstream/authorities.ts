import * as tls from 'node:tls'

/**
 * Trusts what the machine trusts, as other container tools do: a company's proxy that looks into TLS has its authority in the
 * system's store (or in `SSL_CERT_FILE`), and not in the list that comes with Node. Holds for the whole process.
 */
export function trustSystemAuthorities(): void {
  // Since Node 22.19 and 24.5.
  if (!('setDefaultCACertificates' in tls)) return
  const bundled = tls.getCACertificates('default')
  const system = tls.getCACertificates('system').filter((certificate) => !bundled.includes(certificate))
  if (system.length > 0) tls.setDefaultCACertificates([...bundled, ...system])
}
