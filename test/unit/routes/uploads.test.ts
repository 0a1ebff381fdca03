import type { AddressInfo } from 'node:net'
import Router from '@koa/router'
import Koa from 'koa'
import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import type { LocalRegistry, UploadSessions, UploadState } from '../../../proxy/ports.ts'
import type { Names } from '../../../proxy/routes/addressing.ts'
import type { RegistryState } from '../../../proxy/routes/context.ts'
import { beginUploadRoute } from '../../../proxy/routes/uploads.ts'
import { ask } from '../../fixtures/client.ts'

const bytes = Buffer.from('a blob')
const names: Names = {
  registries: new Set<string>(),
  local: { registry: 'localhost', has: () => true, isBegun: () => true, isHidden: () => false, isHeld: () => false },
}

/** Uploads of which one step fails. */
class FailingUploads implements UploadSessions {
  readonly open = new Set<string>()
  readonly #failing: 'append' | 'finish'

  constructor(failing: 'append' | 'finish') {
    this.#failing = failing
  }

  async begin(): Promise<UploadState> {
    this.open.add('x')
    return { id: 'x', length: 0 }
  }

  state(): UploadState {
    return { id: 'x', length: 0 }
  }

  async append(): Promise<UploadState> {
    if (this.#failing === 'append') throw new OciError('DENIED', 'no room')
    return { id: 'x', length: bytes.length }
  }

  async finish(): Promise<void> {
    throw new OciError('DENIED', 'no room')
  }

  async cancel(): Promise<void> {
    this.open.delete('x')
  }
}

it.each(['append', 'finish'] as const)('a single POST of which %s fails leaves no upload', async (failing) => {
  const uploads = new FailingUploads(failing)
  const app = new Koa<RegistryState>()
  const router = new Router<RegistryState>()
  const local = {} as LocalRegistry
  router.post(/^\/v2\/(.+)\/blobs\/uploads\/?$/, beginUploadRoute({ names, uploads, local, push: 'loopback' }))
  app.use(async (ctx, next) => {
    ctx.state = { facts: { bytes: 0 }, signal: new AbortController().signal, isGuest: false } as RegistryState
    await next().catch((error: OciError) => {
      ctx.status = error.status
    })
  })
  app.use(router.routes())
  const server = app.listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const refused = await ask(url, `/v2/app/blobs/uploads/?digest=${digestOf(bytes)}`, { method: 'POST', body: bytes })
  expect(refused.status).toBe(403)
  expect([...uploads.open]).toEqual([])
})
