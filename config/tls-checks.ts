import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import type { Finding } from './problems.ts'
import type { RegistryConfig } from './schema.ts'

/** What is wrong with the files of a registry's TLS settings. */
export function checkTls(name: string, { ca = [], cert, key }: RegistryConfig): Finding[] {
  const path = (field: string) => ['registries', name, field]
  const list = ca.flatMap((file) => checkFile(path('ca'), file, certificateMistake))
  if (cert === undefined && key === undefined) return list
  if (cert === undefined || key === undefined) {
    const [given, missing] = cert === undefined ? ['key', 'cert'] : ['cert', 'key']
    const message = `expected a ${missing} beside it, got none`
    return [...list, { path: path(given), beside: path(missing), message }]
  }
  let certificate: X509Certificate | undefined
  const certFindings = checkFile(path('cert'), cert, (text) => {
    const mistake = certificateMistake(text)
    if (mistake === undefined) certificate = new X509Certificate(certificatesIn(text)[0] ?? text)
    return mistake
  })
  const keyFindings = checkFile(path('key'), key, (text) => keyMistake(text, certificate))
  return [...list, ...certFindings, ...keyFindings]
}

const certificatesIn = (text: string): readonly string[] =>
  text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []

function certificateMistake(text: string): string | undefined {
  const certificates = certificatesIn(text)
  try {
    for (const certificate of certificates) new X509Certificate(certificate)
  } catch {
    return 'expected PEM certificates, got one that cannot be read'
  }
  return certificates.length > 0 ? undefined : 'expected PEM certificates, got a file without any'
}

/** @param certificate undefined where it can't be read itself */
function keyMistake(text: string, certificate: X509Certificate | undefined): string | undefined {
  if (/^(?:-----BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED)/m.test(text)) {
    return 'expected a private key that needs no passphrase'
  }
  let key: KeyObject
  try {
    key = createPrivateKey(text)
  } catch {
    return 'expected a private key in PEM, got something else'
  }
  if (certificate === undefined || certificate.checkPrivateKey(key)) return undefined
  return 'expected the private key of the certificate, got another one'
}

/** What is wrong with the file that an option names. Its content is never shown. */
export function checkFile(path: string[], file: string, mistake: (text: string) => string | undefined): Finding[] {
  if (!isAbsolute(file)) return []
  try {
    const message = mistake(readFileSync(file, 'utf8'))
    return message === undefined ? [] : [{ path, message: `${message}: ${file}` }]
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const reason = code === 'ENOENT' ? 'there is none at' : code === 'EACCES' ? 'this user may not read' : message
    return [{ path, message: `expected a file that can be read; ${reason} ${file}` }]
  }
}
