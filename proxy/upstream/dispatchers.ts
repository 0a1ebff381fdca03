import type { LookupFunction } from 'node:net'
import { Agent, buildConnector, type Dispatcher, type Pool } from 'undici'
import { type Bounds, publicHostsOnly, publicLookup } from './guard.ts'
import { forwardThrough, type ProxyChoice, tunnelThrough } from './proxy.ts'

/** Sockets to one host. More requests wait for a free one. */
const maxSockets = 256

/** Idle sockets are closed after this time, in ms: a network that went away shows on new connections at once. */
const keepAlive = 10_000

/** Bytes of a response's headers: policies and signatures of CDNs take more than the usual 16 KiB; Go's limit is this. */
const maxHeaderSize = 1024 * 1024

const pool: Pool.Options = {
  maxHeaderSize,
  connections: maxSockets,
  pipelining: 1,
  keepAliveTimeout: keepAlive,
  keepAliveMaxTimeout: keepAlive,
  // One socket for each transfer carries more than streams in one socket do.
  allowH2: false,
}

export interface DispatcherOptions {
  /** The registry's own origin, which alone is shown the client certificate. */
  readonly origin: string
  /** Contents of PEM files, and whether any certificate is taken; they hold for all hosts that the registry names. */
  readonly tls: { readonly ca?: readonly string[]; readonly rejectUnauthorized: boolean }
  /** Contents of PEM files. */
  readonly clientCertificate: { readonly cert: string; readonly key: string } | undefined
  /** In ms. */
  readonly connectTimeout: number
  readonly proxy: ProxyChoice
  readonly bounds: Bounds
  /** Only public hosts may be asked. */
  readonly publicOnly: boolean
  /** What resolves names in place of the system; for tests. */
  readonly lookup?: LookupFunction | undefined
}

interface Opened {
  readonly dispatcher: Dispatcher
  /** What is to be closed. */
  readonly base: Dispatcher
}

/** The ways to the hosts that are asked because of one registry, made when they are needed. */
export class Dispatchers {
  readonly #options: DispatcherOptions
  /** Two directly, and four for each of at most two proxies. */
  readonly #opened = new Map<string, Opened>()

  constructor(options: DispatcherOptions) {
    this.#options = options
  }

  /**
   * What sends requests to a URL.
   * @param elsewhere whether it gets no client certificate, wherever it is
   * @throws {WayError} where none may go there
   */
  for(url: URL, elsewhere: boolean): Dispatcher {
    const { origin, clientCertificate, proxy, bounds, publicOnly } = this.#options
    // Those of a public registry are narrower.
    if (!publicOnly) bounds.check(url)
    const isOwn = clientCertificate !== undefined && url.origin === origin && !elsewhere
    const way = proxy(url)
    const key = `${isOwn} ${way === undefined ? 'direct' : `${way.href} ${url.protocol}`}`
    const known = this.#opened.get(key)
    if (known !== undefined) return known.dispatcher
    const base = this.#open(isOwn, way, url.protocol)
    const dispatcher = this.#options.publicOnly ? base.compose(publicHostsOnly) : base
    this.#opened.set(key, { dispatcher, base })
    return dispatcher
  }

  #open(isOwn: boolean, proxy: URL | undefined, protocol: string): Dispatcher {
    const { tls: common, clientCertificate, connectTimeout, bounds, publicOnly, lookup } = this.#options
    const { ca, ...rest } = common
    const tls: buildConnector.BuildOptions = {
      ...rest,
      ...(ca === undefined ? {} : { ca: [...ca] }),
      ...(isOwn ? clientCertificate : {}),
    }
    if (proxy !== undefined) {
      const options = { proxy, pool, tls, connectTimeout }
      return protocol === 'https:' ? tunnelThrough(options) : forwardThrough(options)
    }
    const resolve = publicOnly ? publicLookup(lookup) : lookup
    const how = {
      ...tls,
      allowH2: false,
      timeout: connectTimeout,
      ...(resolve === undefined ? {} : { lookup: resolve }),
    }
    return new Agent({ ...pool, connect: bounds.guarded(buildConnector(how)) })
  }

  /** Lets running requests end. A request that comes later opens a way anew, whose sockets end when they are idle. */
  async close(): Promise<void> {
    const opened = [...this.#opened.values()]
    this.#opened.clear()
    await Promise.all(opened.map(({ base }) => base.close()))
  }

  /** Ends running requests, too. */
  async destroy(): Promise<void> {
    const opened = [...this.#opened.values()]
    this.#opened.clear()
    await Promise.all(opened.map(({ base }) => base.destroy()))
  }
}
