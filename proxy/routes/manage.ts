import { Gate } from '../gate.ts'
import { isDigest, parseDigest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { longManifestBytes, maxManifestBytes, tooLongText } from '../oci/manifest.ts'
import { isTag, parseTag } from '../oci/name.ts'
import { pageOf } from '../oci/page.ts'
import type { LocalRegistry } from '../ports.ts'
import type { Names } from './addressing.ts'
import { parsePushTarget, type RegistryContext } from './context.ts'
import { assertMayPush, bodyOf, lengthOf, type PushPolicy } from './push.ts'
import { namespaceOf } from './uploads.ts'

interface ManageRouteOptions {
  readonly names: Names
  readonly local: LocalRegistry
  readonly push: PushPolicy
}

/** Tags of one push of a manifest. */
const maxTags = 100

/** Long manifests that are taken at the same time: 128 MiB, if all of them have as many bytes as they may. */
const maxLongManifests = 8

/** `PUT /v2/<name>/manifests/<reference>` (distribution-spec 1.1, end-7). */
export function putManifestRoute({ names, local, push }: ManageRouteOptions) {
  const gate = new Gate(maxLongManifests)
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parsePushTarget(ctx, names)
    assertMayPush(ctx, push)
    const { reference } = target
    const given = isDigest(reference) || reference.includes(':') ? parseDigest(reference) : undefined
    const tags = given === undefined ? [parsePushedTag(reference)] : tagParameters(ctx)
    const type = ctx.get('content-type')
    const put = async () => {
      const bytes = await collect(ctx)
      return await local.putManifest(target, { bytes, contentType: type || undefined, digest: given, tags })
    }
    const isLong = (lengthOf(ctx) ?? maxManifestBytes) > longManifestBytes
    const leave = isLong ? await gate.enter(target.signal) : () => {}
    const { digest, subject } = await put().finally(leave)
    const location = `${target.base}/manifests/${given ?? reference}${namespaceOf(ctx)}`
    ctx.set({ Location: location, 'Docker-Content-Digest': digest })
    if (subject !== undefined) ctx.set('OCI-Subject', subject)
    if (given !== undefined && tags.length > 0) ctx.set('OCI-Tag', tags.join(', '))
    ctx.body = null
    ctx.status = 201
  }
}

/** `DELETE /v2/<name>/manifests/<reference>` (distribution-spec 1.1, end-9). */
export function deleteManifestRoute({ names, local, push }: ManageRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parsePushTarget(ctx, names)
    assertMayPush(ctx, push)
    const { reference } = target
    const isByDigest = isDigest(reference) || reference.includes(':')
    await local.deleteManifest(target, isByDigest ? parseDigest(reference) : { tag: parseTag(reference) })
    ctx.body = null
    ctx.status = 202
  }
}

/** `DELETE /v2/<name>/blobs/<digest>` (distribution-spec 1.1, end-10). */
export function deleteBlobRoute({ names, local, push }: ManageRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const target = parsePushTarget(ctx, names)
    assertMayPush(ctx, push)
    await local.deleteBlob(target, parseDigest(target.reference))
    ctx.body = null
    ctx.status = 202
  }
}

/** `GET /v2/_catalog`: the local repositories, as Docker's registry lists its own. */
export function catalogRoute({ local }: ManageRouteOptions) {
  return async (ctx: RegistryContext): Promise<void> => {
    const { entries, next } = pageOf(local.names(), ctx.querystring)
    if (next !== undefined) ctx.set('Link', `</v2/_catalog?${next}>; rel="next"`)
    ctx.type = 'application/json'
    ctx.body = JSON.stringify({ repositories: entries })
  }
}

/** A tag that is made must be one, whereas one that is asked for is only unknown. */
function parsePushedTag(text: string): string {
  if (isTag(text)) return text
  throw new OciError(
    'MANIFEST_INVALID',
    `"${text.slice(0, 140)}" is not a tag: letters, digits, . _ -, at most 128 characters, not starting with . or -`,
  )
}

/** The tags that a push by digest gives to its manifest. */
function tagParameters(ctx: RegistryContext): readonly string[] {
  const tags = [...new Set([ctx.query.tag ?? []].flat())]
  if (tags.length > maxTags)
    throw new OciError('MANIFEST_INVALID', `${tags.length} tags are given; at most ${maxTags} are allowed`, {
      status: 414,
    })
  return tags.map(parsePushedTag)
}

async function collect(ctx: RegistryContext): Promise<Buffer> {
  const length = lengthOf(ctx)
  const tooLong = (size: number | undefined) => new OciError('SIZE_INVALID', tooLongText(size), { status: 413 })
  if (length !== undefined && length > maxManifestBytes) throw tooLong(length)
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const piece of bodyOf(ctx)) {
    size += piece.length
    if (size > maxManifestBytes) throw tooLong(undefined)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}
