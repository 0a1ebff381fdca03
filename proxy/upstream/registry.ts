import { readFileSync } from 'node:fs'
import type { LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import type { Dispatcher } from 'undici'
import type { Config, RegistryConfig } from '../../config/schema.ts'
import { exchangeTrusting } from './authorities.ts'
import { Breaker } from './breaker.ts'
import { Comeback } from './comeback.ts'
import { Dispatchers } from './dispatchers.ts'
import type { Credentials } from './docker-config.ts'
import { silenceOf } from './errors.ts'
import { Bounds, OwnPorts } from './guard.ts'
import { Habits } from './habits.ts'
import { chooseProxy } from './proxy.ts'

/** How long a registry that is asked in the background may take to answer, in ms. */
const pingTimeout = 10_000

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
  /** The URL of the API's root: it says whether and how the registry asks for authentication. */
  readonly pingUrl: URL
  /** The URL of what is below a repository, such as `manifests/latest`. */
  urlOf(repository: string, path: string): URL
  /** A repository's name as the endpoint knows it, which is in the scope of its tokens. */
  repositoryAt(name: string): string
  /**
   * What sends requests to the registry, or to a host that it names. Only the first is shown the client certificate, and not
   * where another host has sent us back (`elsewhere`).
   */
  dispatcherFor(url: URL, elsewhere?: boolean): Dispatcher
  /** In ms, as the other two. */
  readonly connectTimeout: number
  readonly responseTimeout: number
  readonly idleTimeout: number
  readonly authRealms: readonly string[]
  /** Whether content that has a digest may be fetched by http from where an https registry redirects to. */
  readonly insecureRedirects: boolean
  /** Whether it is shown a client certificate: what it gives for that is private, and nobody asks it anonymously. */
  readonly isPrivate: boolean
  /** Whether any certificate is taken, of itself and of the hosts that it names. */
  readonly isInsecure: boolean
  /** Whether nobody has configured it: it, and what it names, may only be a public host. */
  readonly isPublicOnly: boolean
  /** The configured ones. */
  readonly credentials: Credentials | undefined
  readonly breaker: Breaker
  /** Asks it in the background while it is away. */
  readonly comeback: Comeback
  readonly habits: Habits
  /** Gives connections back when running requests have ended. */
  close(): Promise<void>
  /** Ends running requests, too. */
  destroy(): Promise<void>
}

/** Contents of the PEM files of a registry's options. */
export interface TlsFiles {
  /** With the ones that are trusted anyway. */
  readonly ca?: readonly string[]
  readonly clientCertificate: { readonly cert: string; readonly key: string } | undefined
}

/**
 * Reads the files that a registry's options name.
 * @throws {Error} where one of them cannot be read
 */
export function readTlsFiles(name: string, { ca, cert, key }: RegistryConfig): TlsFiles {
  const read = (option: string, path: string): string => {
    try {
      return readFileSync(path, 'utf8')
    } catch (error) {
      throw new Error(`registries."${name}".${option}: the file ${path} cannot be read`, { cause: error })
    }
  }
  return {
    ...(ca === undefined ? {} : { ca: [...getCACertificates('default'), ...ca.map((path) => read('ca', path))] }),
    clientCertificate:
      cert === undefined || key === undefined ? undefined : { cert: read('cert', cert), key: read('key', key) },
  }
}

export interface RegistrySettings {
  readonly settings: Config['upstream']
  readonly files: TlsFiles
  /** For `User-Agent`. */
  readonly userAgent: string
  readonly now: () => number
  /** Only public hosts may be asked. */
  readonly publicOnly?: boolean
  /** Where this node listens itself. */
  readonly ownPorts?: OwnPorts | undefined
  /** What resolves names in place of the system; for tests. */
  readonly lookup?: LookupFunction | undefined
}

export function createRegistry(
  name: string,
  config: RegistryConfig,
  { settings, files, userAgent, now, publicOnly = false, ownPorts = new OwnPorts(), lookup }: RegistrySettings,
): Registry {
  const { username, password } = config
  const endpoint = new URL(config.endpoint.replace(/\/+$/, ''))
  const base = endpoint.href.replace(/\/$/, '')
  const root = config.overridePath ? base : `${base}/v2`
  // What comes behind the version of the API is a part of the repository's name there, such as a project of Harbor.
  const [, version = root, prefix] = (config.overridePath && /^(.*?\/v2)\/(.+)$/.exec(root)) || []
  const connectTimeout = config.connectTimeout ?? settings.connectTimeout
  const dispatchers = new Dispatchers({
    origin: endpoint.origin,
    tls: { ...(files.ca === undefined ? {} : { ca: files.ca }), rejectUnauthorized: !config.insecure },
    clientCertificate: files.clientCertificate,
    connectTimeout,
    proxy: chooseProxy(config.proxy, settings.proxy),
    bounds: new Bounds(endpoint, config.authRealms, ownPorts),
    publicOnly,
    lookup,
  })
  const pingUrl = new URL(`${version}/`)
  const idleTimeout = config.idleTimeout ?? settings.idleTimeout
  const comeback: Comeback = new Comeback({
    pause: settings.offlineFor,
    ask: async (signal) => {
      const headers = { accept: '*/*', 'user-agent': userAgent }
      const question = { method: 'GET', url: pingUrl, headers, responseTimeout: pingTimeout, idleTimeout } as const
      const began = now()
      try {
        const { body } = await exchangeTrusting(dispatchers.for(pingUrl, false), { ...question, signal })
        body.cancel()
        breaker.answered()
      } catch (error) {
        // It took the question, so that it is there.
        if (!signal.aborted && silenceOf(error) === 'slow') breaker.hung(began, true)
        throw error
      }
    },
  })
  const breaker = new Breaker(now, comeback)
  return {
    name,
    endpoint,
    pingUrl,
    urlOf: (repository, path) => new URL(`${root}/${repository}/${path}`),
    repositoryAt: (repository) => (prefix === undefined ? repository : `${prefix}/${repository}`),
    dispatcherFor: (url, elsewhere = false) => dispatchers.for(url, elsewhere),
    connectTimeout,
    responseTimeout: config.responseTimeout ?? settings.responseTimeout,
    idleTimeout,
    authRealms: config.authRealms,
    insecureRedirects: config.insecureRedirects,
    isPrivate: files.clientCertificate !== undefined,
    isInsecure: config.insecure,
    isPublicOnly: publicOnly,
    credentials: username === undefined ? undefined : { kind: 'password', username, password: password ?? '' },
    breaker,
    comeback,
    habits: new Habits(now),
    close: () => {
      comeback.close()
      return dispatchers.close()
    },
    destroy: () => {
      comeback.close()
      return dispatchers.destroy()
    },
  }
}
