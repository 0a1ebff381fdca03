import Router from '@koa/router'
import Koa from 'koa'
import { pageHeaders, refusalOf, type ServerNames } from '../../proxy/web-pages.ts'
import type { NamesStatus } from '../names/status.ts'
import type { StoreUsage } from '../store/usage.ts'
import type { SwarmStatus } from '../swarm/ports.ts'
import type { UncachedBlob, UncachedReason } from '../uncached.ts'
import type { Metrics } from './metrics.ts'

/** `GET /api/v1/status`: a stable interface. */
export interface NodeStatus extends SwarmStatus {
  readonly version: string
  readonly uptimeSeconds: number
  /** Address of the registry mirror; undefined while the node starts. */
  readonly registry: string | undefined
  /** The one that asks for a login; undefined where there is none. */
  readonly login: string | undefined
  /** Why `/readyz` says no; undefined where it says yes. */
  readonly notReady: string | undefined
  /** Of pushed images, by this node and its peers. */
  readonly names: NamesStatus
  readonly store: StoreUsage & {
    /** Blobs and manifests that were given to clients and could not be kept, since the start. */
    readonly uncachedBlobs: Readonly<Record<UncachedReason, number>>
    readonly lastUncached: UncachedBlob | undefined
  }
  readonly counters: Metrics['totals']
}

export interface AdminOptions {
  readonly metrics: Metrics
  readonly status: () => NodeStatus
  /** Why the node is not ready to serve clients; undefined when it is. */
  readonly notReady: () => string | undefined
  /** How this server may be called. */
  readonly names: ServerNames
}

/** Health, metrics and the JSON API, for operators. */
export function createAdminApp({ metrics, status, notReady, names }: AdminOptions): Koa {
  const router = new Router()
  router.get('/livez', (ctx) => {
    ctx.body = 'ok\n'
  })
  router.get('/readyz', (ctx) => {
    const reason = notReady()
    ctx.status = reason === undefined ? 200 : 503
    ctx.body = `${reason ?? 'ok'}\n`
  })
  router.get('/metrics', async (ctx) => {
    ctx.type = metrics.registry.contentType
    ctx.body = await metrics.registry.metrics()
  })
  router.get('/api/v1/status', (ctx) => {
    ctx.body = status()
  })
  const app = new Koa()
  app.silent = true
  app.use(async (ctx, next) => {
    ctx.set(pageHeaders)
    const refusal = refusalOf(ctx.req, names)
    if (refusal === undefined) return await next()
    ctx.status = 403
    ctx.body = `${refusal}\n`
  })
  app.use(router.routes()).use(router.allowedMethods())
  app.use((ctx) => {
    ctx.status = 404
    ctx.body = 'no such page: there are /livez, /readyz, /metrics and /api/v1/status\n'
  })
  return app
}
