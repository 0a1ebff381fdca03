import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'

/** The node's certificate for transfers, as PEM for node:tls, and what peers pin. */
export interface TransferCertificate {
  readonly key: string
  readonly cert: string
  readonly fingerprint: string
}

/** The few DER types that a certificate has (ITU-T X.690). */
const tag = { integer: 0x02, bits: 0x03, oid: 0x06, utf8: 0x0c, utcTime: 0x17, time: 0x18, sequence: 0x30, set: 0x31 }

/** `[0]`, around the version. */
const explicitZero = 0xa0

const ecdsaWithSha256 = der(tag.sequence, der(tag.oid, Buffer.from('2a8648ce3d040302', 'hex')))
const commonName = der(tag.oid, Buffer.from('550403', 'hex'))

/** A day back, for tools on machines whose clock is behind; peers compare the fingerprint and no dates. */
const DAY_MS = 24 * 3600_000

/** "No well-defined expiration date" (RFC 5280, 4.1.2.5). */
const NEVER = '99991231235959Z'

/**
 * Makes a self-signed ECDSA P-256 certificate (RFC 5280, 4.1) with a key of its own. Both live as long as the process: peers
 * are told the fingerprint anew at each connection. Written out here because it is one fixed structure; a library for it
 * would be the larger part of what is loaded at start.
 */
export function createCertificate(): TransferCertificate {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const name = der(
    tag.sequence,
    der(tag.set, der(tag.sequence, commonName, der(tag.utf8, Buffer.from('layerd', 'utf8')))),
  )
  const content = der(
    tag.sequence,
    der(explicitZero, der(tag.integer, Buffer.from([2]))),
    der(tag.integer, serialNumber()),
    ecdsaWithSha256,
    name,
    der(tag.sequence, der(tag.utcTime, utcTime(Date.now() - DAY_MS)), der(tag.time, Buffer.from(NEVER, 'latin1'))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = sign('sha256', content, privateKey)
  const certificate = der(tag.sequence, content, ecdsaWithSha256, der(tag.bits, Buffer.from([0]), signature))
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    cert: `-----BEGIN CERTIFICATE-----\n${certificate.toString('base64')}\n-----END CERTIFICATE-----\n`,
    fingerprint: fingerprintOf(certificate),
  }
}

/** SHA-256 of a certificate in DER, lower-case hex. */
export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex')
}

function der(type: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  const length = body.length < 0x80 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff]
  return Buffer.concat([Buffer.from([type, ...length]), body])
}

/** Positive, without leading zeros. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16)
  bytes.writeUInt8((bytes.readUInt8(0) & 0x3f) | 0x40, 0)
  return bytes
}

/** `YYMMDDHHMMSSZ` */
function utcTime(ms: number): Buffer {
  return Buffer.from(`${new Date(ms).toISOString().slice(2, 19).replaceAll(/[-:T]/g, '')}Z`, 'latin1')
}
