import { canonicalRegistry } from '../oci/name.ts'

/** What one proves to a registry or its token service who one is with. */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** An OAuth 2 refresh token, which only a token service takes. */
  | { readonly kind: 'identity-token'; readonly token: string }

/** What layerd reads of Docker's `config.json`; hosts are in the form of {@link hostOfKey}. */
export interface DockerConfig {
  readonly auths: ReadonlyMap<string, Credentials>
  readonly credHelpers: ReadonlyMap<string, string>
  readonly credsStore: string | undefined
}

export const emptyDockerConfig: DockerConfig = { auths: new Map(), credHelpers: new Map(), credsStore: undefined }

/**
 * Reads Docker's `config.json`. Entries that make no sense are left out.
 * @throws {Error} where it is no JSON object
 */
export function parseDockerConfig(text: string): DockerConfig {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which holds secrets.
    throw new Error('not JSON')
  }
  if (!isRecord(json)) throw new Error('not a JSON object')
  const auths = new Map<string, Credentials>()
  for (const [key, entry] of entriesOf(json.auths)) {
    const host = hostOfKey(key)
    const credentials = isRecord(entry) ? credentialsOf(entry) : undefined
    if (host !== undefined && credentials !== undefined) auths.set(host, credentials)
  }
  const credHelpers = new Map<string, string>()
  for (const [key, helper] of entriesOf(json.credHelpers)) {
    const host = hostOfKey(key)
    if (host !== undefined && typeof helper === 'string' && helper !== '') credHelpers.set(host, helper)
  }
  const credsStore = typeof json.credsStore === 'string' && json.credsStore !== '' ? json.credsStore : undefined
  return { auths, credHelpers, credsStore }
}

/**
 * The registry that a key of `auths` or `credHelpers` is for: `ghcr.io`, `https://ghcr.io`, or with the path of an API
 * version, as in Docker Hub's `https://index.docker.io/v1/`. Keys for a part of a registry give undefined.
 */
export function hostOfKey(key: string): string | undefined {
  const match = /^(?:https?:\/\/)?([^/]+)(?:\/(?:v[12]\/?)?)?$/.exec(key)
  return match?.[1] === undefined ? undefined : canonicalRegistry(match[1])
}

/** The name under which Docker and its credential helpers keep what belongs to a registry. */
export function serverUrlOf(host: string): string {
  return host === 'docker.io' ? 'https://index.docker.io/v1/' : host
}

/** From `user:password`; undefined where there is no colon. */
export function passwordFrom(text: string): Credentials | undefined {
  const colon = text.indexOf(':')
  // Docker pads some entries with NUL.
  const password = text.slice(colon + 1).replace(/\0+$/, '')
  return colon < 1 ? undefined : { kind: 'password', username: text.slice(0, colon), password }
}

function credentialsOf(entry: Record<string, unknown>): Credentials | undefined {
  const { auth, username, password, identitytoken } = entry
  if (typeof identitytoken === 'string' && identitytoken !== '') return { kind: 'identity-token', token: identitytoken }
  if (typeof auth === 'string' && auth !== '') return passwordFrom(Buffer.from(auth, 'base64').toString('utf8'))
  if (typeof username !== 'string' || username === '' || typeof password !== 'string') return undefined
  return { kind: 'password', username, password }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function entriesOf(value: unknown): [string, unknown][] {
  return isRecord(value) ? Object.entries(value) : []
}
