// @peculiar/x509 needs the metadata API to be there before it is loaded.
import 'reflect-metadata'
import { createHash, KeyObject, webcrypto } from 'node:crypto'
import { X509CertificateGenerator } from '@peculiar/x509'

/** The node's certificate for transfers, as PEM for node:tls, and what peers pin. */
export interface TransferCertificate {
  readonly key: string
  readonly cert: string
  readonly fingerprint: string
}

/** A day back, for tools on machines whose clock is behind; peers compare the fingerprint and no dates. */
const DAY_MS = 24 * 3600_000

/** The certificate dies with the process long before; "no well-defined expiration date" (RFC 5280, 4.1.2.5). */
const NEVER = new Date('9999-12-31T23:59:59Z')

/**
 * Makes a self-signed ECDSA P-256 certificate with a key of its own. Both live as long as the process: peers are told the
 * fingerprint anew at each connection.
 */
export async function createCertificate(): Promise<TransferCertificate> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=layerd',
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: NEVER,
  })
  return {
    key: KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `${certificate.toString('pem')}\n`,
    fingerprint: fingerprintOf(new Uint8Array(certificate.rawData)),
  }
}

/** SHA-256 of a certificate in DER, lower-case hex. */
export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex')
}
