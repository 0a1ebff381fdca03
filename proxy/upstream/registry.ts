import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'
import { Agent } from 'undici'
import type { Config, RegistryConfig } from '../../config/schema.ts'
import { Breaker } from './breaker.ts'
import type { Credentials } from './docker-config.ts'
import { Habits } from './habits.ts'

/** The part of a pino logger that the registry client uses. */
export interface UpstreamLogger {
  debug(fields: object, message: string): void
  warn(fields: object, message: string): void
}

/** A registry that may be asked: where it is, how long to wait for it, and what is known of it. */
export interface Registry {
  /** As in references. */
  readonly name: string
  /** Without a slash at the end of its path. */
  readonly endpoint: URL
  readonly agent: Agent
  /** In ms, as `idleTimeout`. */
  readonly responseTimeout: number
  readonly idleTimeout: number
  readonly authRealms: readonly string[]
  /** The configured ones. */
  readonly credentials: Credentials | undefined
  /** Whether content that has a digest may be fetched without encryption where the registry redirects to that. */
  readonly insecureRedirects: boolean
  readonly breaker: Breaker
  readonly habits: Habits
}

/** Sockets to one host. More requests wait for a free one. */
const maxSockets = 256

/** Idle sockets are closed after this time, in ms: a network that went away shows on new connections at once. */
const keepAlive = 10_000

/** @throws {Error} where the CA file cannot be read */
export function createRegistry(
  name: string,
  config: RegistryConfig,
  settings: Config['upstream'],
  now: () => number,
): Registry {
  const { username, password } = config
  return {
    name,
    endpoint: new URL(config.endpoint.replace(/\/+$/, '')),
    agent: new Agent({
      connect: {
        timeout: config.connectTimeout ?? settings.connectTimeout,
        rejectUnauthorized: !config.insecure,
        ...(config.ca === undefined ? {} : { ca: [...getCACertificates('default'), readCa(name, config.ca)] }),
      },
      connections: maxSockets,
      pipelining: 1,
      keepAliveTimeout: keepAlive,
      keepAliveMaxTimeout: keepAlive,
      // One socket for each transfer carries more than streams in one socket do.
      allowH2: false,
    }),
    responseTimeout: config.responseTimeout ?? settings.responseTimeout,
    idleTimeout: config.idleTimeout ?? settings.idleTimeout,
    authRealms: config.authRealms,
    credentials: username === undefined ? undefined : { kind: 'password', username, password: password ?? '' },
    insecureRedirects: config.insecureRedirects,
    breaker: new Breaker(settings.offlineFor, now),
    habits: new Habits(now),
  }
}

function readCa(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(`registries."${name}".ca: the file ${path} cannot be read`, { cause: error })
  }
}
