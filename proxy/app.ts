import Router from '@koa/router'
import Koa from 'koa'
import type { Config } from '../config/schema.ts'
import type { KnownRegistries } from './known-registries.ts'
import { mayBorrow } from './lending.ts'
import { OciError } from './oci/errors.ts'
import { repositoryText } from './oci/name.ts'
import type {
  ContentOrigin,
  ContentSource,
  ListSource,
  LocalNames,
  LocalRegistry,
  TagResolver,
  UploadSessions,
} from './ports.ts'
import type { Readers } from './readers.ts'
import type { Names } from './routes/addressing.ts'
import { blobRoute } from './routes/blobs.ts'
import { authorizationOf, type RegistryContext, type RegistryState, type RequestFacts } from './routes/context.ts'
import { referrersRoute, tagListRoute } from './routes/lists.ts'
import { catalogRoute, deleteBlobRoute, deleteManifestRoute, putManifestRoute } from './routes/manage.ts'
import { manifestRoute } from './routes/manifests.ts'
import { discardBody, type PushPolicy } from './routes/push.ts'
import { beginUploadRoute, uploadRoutes } from './routes/uploads.ts'
import { isUnexplainedBrowser, pageHeaders, refusalOf, type ServerNames } from './web-pages.ts'

/** What happened to one request, when its response is over. */
interface RequestOutcome {
  readonly method: string
  /** Where the request was for a resource of the API. */
  readonly repository?: string
  readonly reference?: string | undefined
  /** Otherwise. */
  readonly path?: string
  readonly source?: ContentOrigin | undefined
  /** When upstream last said this, as ISO 8601; left out where it could be asked. */
  readonly confirmedAt?: string
  /** Bytes of the body that the client was given. */
  readonly bytes: number
  readonly ms: number
  readonly status: number
  /** Whether the client got the whole response. */
  readonly complete: boolean
  /** Why it was not answered as asked. */
  readonly error?: string
}

export interface RegistryOptions {
  readonly content: ContentSource
  readonly tags: TagResolver
  readonly lists: ListSource
  /** Registries that may be asked, by the name in references. */
  readonly registries: KnownRegistries
  /** This node's own registry. */
  readonly local: LocalRegistry & LocalNames
  readonly uploads: UploadSessions
  /** Who may push. */
  readonly push: PushPolicy
  /** Whether clients must say who they are: what they give is passed on, and the node's own credentials are never used. */
  readonly asksForLogin?: boolean
  /** Whom the node's own credentials and client certificates are used for. */
  readonly lendCredentials: Config['registry']['lendCredentials']
  /** Those who are sent a body, by any server of this node. */
  readonly readers: Readers
  /** How clients may call this server. */
  readonly serverNames: ServerNames
  readonly onRequest: (outcome: RequestOutcome) => void
  /** An error that is a mistake of layerd's own. */
  readonly onError: (error: unknown, path: string) => void
  /** Bytes of bodies given to clients, as they leave. */
  readonly onServed: (bytes: number) => void
}

/** No name, tag or digest that the API allows makes a URL of a tenth of this; registries' cursors of lists do. */
const maxUrlLength = 16 * 1024

/** The registry API (distribution-spec 1.1). */
export function createRegistryApp(settings: RegistryOptions): Koa<RegistryState> {
  // Credentials for upstream registries say nothing of who may have, or push, what is this node's own.
  const isMirrorOnly = settings.asksForLogin === true
  const options = { ...settings, names: { registries: settings.registries, local: settings.local, isMirrorOnly } }
  const router = new Router<RegistryState>()
  router.get(/^\/v2\/?$/, ping)
  if (!isMirrorOnly) addLocalRoutes(router, options)
  router.get(/^\/v2\/(.+)\/manifests\/([^/]+)$/, manifestRoute(options))
  router.get(/^\/v2\/(.+)\/blobs\/([^/]+)$/, blobRoute(options))
  router.get(/^\/v2\/(.+)\/tags\/list$/, tagListRoute(options))
  router.get(/^\/v2\/(.+)\/referrers\/([^/]+)$/, referrersRoute(options))

  const app = new Koa<RegistryState>()
  app.silent = true
  app.use(reportRequests(options))
  app.use(discardBody)
  app.use(answerErrors(options.onError))
  app.use(refusePages(options.serverNames))
  if (options.asksForLogin === true) app.use(askForLogin)
  app.use(router.routes())
  app.use(refuseTheRest(router))
  return app
}

function addLocalRoutes(router: Router<RegistryState>, options: RegistryOptions & { readonly names: Names }): void {
  router.get(/^\/v2\/_catalog$/, catalogRoute(options))
  router.put(/^\/v2\/(.+)\/manifests\/([^/]+)$/, putManifestRoute(options))
  router.delete(/^\/v2\/(.+)\/manifests\/([^/]+)$/, deleteManifestRoute(options))
  router.delete(/^\/v2\/(.+)\/blobs\/([^/]+)$/, deleteBlobRoute(options))
  router.post(/^\/v2\/(.+)\/blobs\/uploads\/?$/, beginUploadRoute(options))
  const upload = uploadRoutes(options)
  const path = /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/
  router.get(path, upload.status)
  router.patch(path, upload.append)
  router.put(path, upload.finish)
  router.delete(path, upload.cancel)
}

/** docker2aci takes a registry without an API version header for one that speaks only v1. */
function ping(ctx: RegistryContext): void {
  ctx.type = 'application/json'
  ctx.body = '{}'
}

/**
 * Answers whoever gives no credentials as a registry with Basic does (RFC 7617). podman and skopeo send credentials only when
 * `GET /v2/` has asked for them, and `docker login` takes any 200 of it for a success: which registry they are for shows with
 * the first image, so that is where wrong ones are refused.
 */
async function askForLogin(ctx: RegistryContext, next: () => Promise<unknown>): Promise<void> {
  if (/^\/v2(?:\/|$)/.test(ctx.path) && authorizationOf(ctx) === undefined) {
    throw new OciError(
      'UNAUTHORIZED',
      'this address of layerd asks for a login: give the user name and password of the registry that you pull from',
      { headers: { 'WWW-Authenticate': 'Basic realm="layerd"' } },
    )
  }
  await next()
}

function reportRequests({ onRequest, lendCredentials, readers }: RegistryOptions) {
  return async (ctx: RegistryContext, next: () => Promise<unknown>): Promise<void> => {
    const started = performance.now()
    const gone = new AbortController()
    const facts: RequestFacts = { bytes: 0 }
    ctx.state = { facts, signal: gone.signal, isGuest: !mayBorrow(lendCredentials, ctx.req), readers }
    ctx.res.once('close', () => {
      const complete = ctx.res.writableFinished
      if (!complete) gone.abort(new Error('the client closed the connection'))
      const { repository, reference, source, bytes, confirmedAt, error } = facts
      onRequest({
        method: ctx.method,
        ...(repository === undefined ? { path: ctx.path } : { repository: repositoryText(repository), reference }),
        source,
        ...(confirmedAt === undefined ? {} : { confirmedAt: new Date(confirmedAt).toISOString() }),
        bytes,
        ms: Math.round((performance.now() - started) * 10) / 10,
        status: ctx.res.headersSent ? ctx.res.statusCode : clientGone,
        complete,
        ...(error === undefined ? {} : { error }),
      })
    })
    await next()
  }
}

/** Refuses what a web page may have sent, before anything is fetched for it. */
function refusePages(names: ServerNames) {
  return async (ctx: RegistryContext, next: () => Promise<unknown>): Promise<void> => {
    const refusal = refusalOf(ctx.req, names)
    if (refusal !== undefined) throw new OciError('DENIED', refusal)
    if (isUnexplainedBrowser(ctx.req)) {
      throw new OciError(
        'DENIED',
        'this is a browser that does not say which page made the request; use another program',
      )
    }
    await next()
  }
}

/** What logs say of a client that left before it got an answer, as nginx does. */
const clientGone = 499

/** Headers that describe content, which an error must not carry. */
const contentHeaders = ['Content-Length', 'Content-Range', 'ETag', 'Accept-Ranges', 'Docker-Content-Digest', 'Warning']

function answerErrors(onError: RegistryOptions['onError']) {
  return async (ctx: RegistryContext, next: () => Promise<unknown>): Promise<void> => {
    ctx.set({ 'Docker-Distribution-API-Version': 'registry/2.0', ...pageHeaders })
    try {
      if (ctx.url.length > maxUrlLength) {
        throw new OciError(
          'URI_TOO_LONG',
          `the URL has ${ctx.url.length} characters; at most ${maxUrlLength} are allowed`,
        )
      }
      await next()
    } catch (error) {
      if (ctx.respond === false) return
      const known =
        error instanceof OciError ? error : new OciError('UNKNOWN', 'an error inside layerd; its log says more')
      if (known !== error && !ctx.state.signal.aborted) onError(error, ctx.path)
      ctx.state.facts.error = known.message
      for (const name of contentHeaders) ctx.remove(name)
      ctx.status = known.status
      ctx.body = known.body()
      ctx.type = 'application/json'
      ctx.set(known.headers)
    }
  }
}

/** Whatever is no route: a method that a resource does not have, or a path that is not in the API. */
function refuseTheRest(router: Router<RegistryState>) {
  return (ctx: RegistryContext): void => {
    if (ctx.path.startsWith('/v2/') && ctx.method !== 'GET' && ctx.method !== 'HEAD') {
      const methods = router.match(ctx.path, ctx.method).path.flatMap((route) => route.methods)
      const allowed = methods.length === 0 ? ['GET', 'HEAD'] : [...new Set(methods)].sort()
      throw new OciError('UNSUPPORTED', `${ctx.method} is not a method of this resource`, {
        headers: { Allow: allowed.join(', ') },
      })
    }
    throw new OciError('UNSUPPORTED', 'no such resource in the registry API; images are found below /v2/', {
      status: 404,
    })
  }
}
