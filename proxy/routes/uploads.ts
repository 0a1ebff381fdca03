import { type Digest, isDigest, parseDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { parseChunkRange } from '../oci/range.ts'
import type { LocalRegistry, UploadChunk, UploadSessions, UploadState } from '../ports.ts'
import { type Names, parseRepository } from './addressing.ts'
import { type PushTarget, parsePushTarget, type RegistryContext, singleParameter } from './context.ts'
import { assertMayPush, bodyOf, lengthOf, type PushPolicy } from './push.ts'

interface UploadRouteOptions {
  readonly names: Names
  readonly uploads: UploadSessions
  readonly local: LocalRegistry
  readonly push: PushPolicy
}

/**
 * `POST /v2/<name>/blobs/uploads/` (distribution-spec 1.1, end-4a, end-4b and end-11): starts an upload, takes a whole blob, or
 * mounts one that is here already.
 */
export function beginUploadRoute({ names, uploads, local, push }: UploadRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parsePushTarget(ctx, names)
    assertMayPush(ctx, push)
    const mount = singleParameter(ctx, 'mount')
    if (mount !== undefined && isDigest(mount) && (await local.mount(target, mount, sourceOf(ctx, mount, names)))) {
      return created(ctx, target, mount)
    }
    const digest = digestParameter(ctx)
    const state = await uploads.begin(target)
    // Without a body it is the beginning of an upload all the same.
    if (digest === undefined || lengthOf(ctx) === 0) return accepted(ctx, target, state)
    try {
      if ((await uploads.append(target, state.id, chunkOf(ctx))) === undefined) throw outOfOrder()
      await uploads.finish(target, state.id, digest)
    } catch (error) {
      // Its client knows no address at which it could go on. With a wrong digest it is over already.
      await uploads.cancel(target, state.id).catch(() => {})
      throw error
    }
    created(ctx, target, digest)
  }
}

/** `GET`, `PATCH`, `PUT` and `DELETE /v2/<name>/blobs/uploads/<id>` (distribution-spec 1.1, end-5, end-6, end-13). */
export function uploadRoutes({ names, uploads, push }: UploadRouteOptions) {
  const route = (handle: (ctx: RegistryContext, target: PushTarget, id: string) => Promise<void>) => {
    return async (ctx: RegistryContext): Promise<void> => {
      const target = parsePushTarget(ctx, names)
      assertMayPush(ctx, push)
      await handle(ctx, target, target.reference)
    }
  }
  /** Takes the bytes of the request, if there are any. @throws {OciError} RANGE_INVALID, and says where to go on */
  const append = async (ctx: RegistryContext, target: PushTarget, id: string): Promise<void> => {
    const state = await uploads.append(target, id, chunkOf(ctx))
    describe(ctx, target, state ?? uploads.state(target, id))
    if (state === undefined) throw outOfOrder()
  }
  return {
    status: route(async (ctx, target, id) => {
      describe(ctx, target, uploads.state(target, id))
      ctx.status = 204
    }),
    append: route(async (ctx, target, id) => {
      await append(ctx, target, id)
      ctx.status = 202
    }),
    finish: route(async (ctx, target, id) => {
      const digest = digestParameter(ctx)
      if (digest === undefined) throw new OciError('DIGEST_INVALID', 'the parameter digest is missing')
      await append(ctx, target, id)
      await uploads.finish(target, id, digest)
      ctx.remove('Range')
      created(ctx, target, digest)
    }),
    cancel: route(async (ctx, target, id) => {
      await uploads.cancel(target, id)
      ctx.status = 204
    }),
  }
}

function outOfOrder(): OciError {
  return new OciError('RANGE_INVALID', 'the chunk does not begin where the upload ends')
}

/** @throws {OciError} RANGE_INVALID, SIZE_INVALID */
function chunkOf(ctx: RegistryContext): UploadChunk {
  const length = lengthOf(ctx)
  const header = ctx.get('content-range')
  const cut = () => ctx.req.destroy()
  if (header === '') return { body: bodyOf(ctx), length, start: undefined, cut }
  const range = parseChunkRange(header)
  if (range === undefined)
    throw new OciError('RANGE_INVALID', `"${header.slice(0, 100)}" is not a range of bytes such as 0-1023`)
  const expected = range.end + 1 - range.start
  if (length !== undefined && length !== expected)
    throw new OciError('SIZE_INVALID', `the Content-Range is of ${expected} bytes, the Content-Length says ${length}`)
  return { body: exactly(bodyOf(ctx), expected), length: expected, start: range.start, cut }
}

/** @throws {OciError} SIZE_INVALID where the body has another length */
async function* exactly(body: AsyncIterable<Uint8Array>, length: number): AsyncGenerator<Uint8Array> {
  let received = 0
  for await (const piece of body) {
    received += piece.length
    if (received > length) break
    yield piece
  }
  if (received !== length)
    throw new OciError('SIZE_INVALID', `the Content-Range is of ${length} bytes, and the body has another length`)
}

/** Where a blob is to be mounted from; a name without a registry means what it means where it is pulled. */
function sourceOf(ctx: RegistryContext, reference: Digest, names: Names) {
  const from = singleParameter(ctx, 'from')
  if (from === undefined) return undefined
  const { localPort: port } = ctx.req.socket
  try {
    return parseRepository({ path: from, host: ctx.get('host'), port, reference }, names).repository
  } catch {
    // Nothing can be mounted from there: the blob is pushed.
    return { registry: names.local.registry, name: '' }
  }
}

function digestParameter(ctx: RegistryContext): Digest | undefined {
  const digest = singleParameter(ctx, 'digest')
  return digest === undefined ? undefined : parseDigest(digest)
}

function accepted(ctx: RegistryContext, target: PushTarget, state: UploadState): void {
  describe(ctx, target, state)
  ctx.status = 202
}

function describe(ctx: RegistryContext, { base }: PushTarget, { id, length }: UploadState): void {
  ctx.set({
    Location: `${base}/blobs/uploads/${id}${namespaceOf(ctx)}`,
    // Also where there are none: clients take it for a range that can be read.
    Range: `0-${Math.max(0, length - 1)}`,
    'Docker-Upload-UUID': id,
  })
  ctx.body = null
}

function created(ctx: RegistryContext, { base }: PushTarget, digest: Digest): void {
  ctx.set({ Location: `${base}/blobs/${digest}${namespaceOf(ctx)}`, 'Docker-Content-Digest': digest })
  ctx.body = null
  ctx.status = 201
}

/** A client goes on at the address that it is given, so that this says whose name it is, too. */
export function namespaceOf(ctx: RegistryContext): string {
  const namespace = singleParameter(ctx, 'ns')
  return namespace === undefined ? '' : `?ns=${encodeURIComponent(namespace)}`
}
