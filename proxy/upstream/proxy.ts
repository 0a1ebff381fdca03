import { isIP } from 'node:net'
import { type Agent, buildConnector, type Dispatcher, Pool, ProxyAgent } from 'undici'
import type { Config, RegistryConfig } from '../../config/schema.ts'
import { proxyFailure, WayError } from './errors.ts'
import { NoProxy } from './no-proxy.ts'

/** Chooses the proxy for a URL; undefined where it is asked directly. */
export type ProxyChoice = (url: URL) => URL | undefined

/**
 * The proxies of a registry: its own, for all hosts that are asked because of it, or those of the environment.
 * @param own the registry's `proxy`
 */
export function chooseProxy(own: RegistryConfig['proxy'], common: Config['upstream']['proxy']): ProxyChoice {
  if (own !== undefined) {
    const proxy = proxyUrl(own)
    return () => proxy
  }
  const http = proxyUrl(common.http)
  const https = proxyUrl(common.https)
  const except = new NoProxy(common.except ?? [])
  return (url) => (except.has(url) ? undefined : url.protocol === 'https:' ? https : http)
}

function proxyUrl(text: string | undefined): URL | undefined {
  return text === undefined || text === 'none' ? undefined : new URL(text)
}

interface ProxiedOptions {
  readonly proxy: URL
  /** How pools of connections are set up, but for how they connect. */
  readonly pool: Pool.Options
  /** TLS settings towards the target. */
  readonly tls: buildConnector.BuildOptions
  /** Longest wait for each step of the way, in ms. */
  readonly connectTimeout: number
}

/** A dispatcher for https targets, which sees to it that the proxy only passes bytes on (CONNECT). */
export function tunnelThrough({ proxy, pool, tls, connectTimeout }: ProxiedOptions): Dispatcher {
  return new ProxyAgent({
    ...(pool as Agent.Options),
    uri: proxy.origin,
    ...tokenOf(proxy),
    connectTimeout,
    requestTls: { ...tls, timeout: connectTimeout, allowH2: false },
    clientFactory: () =>
      new TunnelPool(proxy, { ...pool, headersTimeout: connectTimeout, connect: connectTo(proxy, connectTimeout) }),
  })
}

/** A dispatcher for http targets: the proxy is asked for their URLs (RFC 9112, 3.2.2). */
export function forwardThrough({ proxy, pool, connectTimeout }: ProxiedOptions): Dispatcher {
  const { token } = tokenOf(proxy)
  const connect = connectTo(proxy, connectTimeout)
  const proxied = new Pool(proxy.origin, {
    ...pool,
    connect: (options, callback) =>
      connect(options, (...[error, socket]) => {
        if (error === null) callback(null, socket)
        else callback(proxyFailure(error, proxy.host), null)
      }),
  })
  const toProxy: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
    dispatch(
      {
        ...options,
        origin: proxy.origin,
        path: `${options.origin}${options.path}`,
        headers: {
          ...(options.headers as Record<string, string>),
          host: new URL(String(options.origin)).host,
          ...(token === undefined ? {} : { 'proxy-authorization': token }),
        },
        // The same for all targets, or each change of the target would end the connection.
        servername: proxy.hostname,
      } as Dispatcher.DispatchOptions,
      new ForwardHandler(handler, proxy.host),
    )
  return proxied.compose(toProxy)
}

/** Connects to a proxy by its own name, whatever target the caller has in mind. */
function connectTo(proxy: URL, timeout: number): buildConnector.connector {
  const connect = buildConnector({ timeout, allowH2: false })
  const name = isIP(proxy.hostname.replace(/^\[|\]$/g, '')) === 0 ? { servername: proxy.hostname } : {}
  return ({ servername: _, ...options }, callback) => connect({ ...options, ...name }, callback)
}

function tokenOf({ username, password }: URL): { token?: string } {
  if (username === '') return {}
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return { token: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** Connections to a proxy that ask it for tunnels, and say what is wrong where it gives none. */
class TunnelPool extends Pool {
  readonly #proxy: string

  constructor(proxy: URL, options: Pool.Options) {
    super(proxy.origin, options)
    this.#proxy = proxy.host
  }

  // biome-ignore lint/suspicious/noExplicitAny: the overload with a callback is not used by ProxyAgent.
  override async connect(options: any): Promise<any> {
    const answer = await super.connect(options).catch((error: unknown) => {
      throw proxyFailure(error, this.#proxy)
    })
    if (answer.statusCode === 200) return answer
    answer.socket.on('error', () => {
      // It was not wanted.
    })
    answer.socket.destroy()
    throw refusal(this.#proxy, answer.statusCode)
  }
}

function refusal(proxy: string, status: number): WayError {
  if (status === 407) {
    const message = `the proxy ${proxy} wants other credentials (407); set user and password in the proxy's URL`
    return new WayError(message, { mayPass: false })
  }
  const message = `the proxy ${proxy} answered ${status} instead of opening a tunnel`
  return new WayError(message, { mayPass: status >= 500 })
}

/** Tells the proxy's own refusal from answers of the target. */
class ForwardHandler implements Dispatcher.DispatchHandler {
  readonly #handler: Dispatcher.DispatchHandler
  readonly #proxy: string

  constructor(handler: Dispatcher.DispatchHandler, proxy: string) {
    this.#handler = handler
    this.#proxy = proxy
  }

  onRequestStart(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onRequestStart']>>): void {
    this.#handler.onRequestStart?.(...args)
  }

  onResponseStart(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseStart']>>): void {
    const [controller, status] = args
    if (status === 407) controller.abort(refusal(this.#proxy, status))
    else this.#handler.onResponseStart?.(...args)
  }

  onResponseData(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseData']>>): void {
    this.#handler.onResponseData?.(...args)
  }

  onResponseEnd(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseEnd']>>): void {
    this.#handler.onResponseEnd?.(...args)
  }

  onResponseError(...args: Parameters<NonNullable<Dispatcher.DispatchHandler['onResponseError']>>): void {
    this.#handler.onResponseError?.(...args)
  }
}
