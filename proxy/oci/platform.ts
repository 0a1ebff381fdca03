import { type Digest, isDigest } from './digest.ts'

/** What an index says of one of its manifests (image-spec 1.1, "Image Index"). */
export interface IndexedManifest {
  readonly digest: Digest
  readonly mediaType: string | undefined
  /** As text, such as `linux/arm64/v8`; undefined where none is said, or it is of no machine, as for attestations. */
  readonly platform: string | undefined
}

/** Manifests of one index that are looked at. */
const maxManifests = 10_000

/**
 * The manifests that an index names.
 * @param manifest bytes of any manifest
 * @returns undefined where it is no index
 */
export function indexedManifests(manifest: Uint8Array): readonly IndexedManifest[] | undefined {
  const { manifests } = fieldsOf(parse(manifest))
  if (!Array.isArray(manifests)) return undefined
  return manifests.slice(0, maxManifests).flatMap((one) => {
    const { digest, mediaType, platform } = fieldsOf(one)
    if (typeof digest !== 'string' || !isDigest(digest)) return []
    return { digest, mediaType: textOf(mediaType), platform: platformText(platform) }
  })
}

/** The platform of an image, as its configuration says it (image-spec 1.1, "Image Configuration"). */
export function configuredPlatform(config: Uint8Array): string | undefined {
  return platformText(parse(config))
}

/** The digest of an image's configuration; undefined where a manifest has none. */
export function configOf(manifest: Uint8Array): Digest | undefined {
  const { digest } = fieldsOf(fieldsOf(parse(manifest)).config)
  return typeof digest === 'string' && isDigest(digest) ? digest : undefined
}

/** Whether a text may be a platform: `os/architecture` or `os/architecture/variant`. */
export function isPlatform(text: string): boolean {
  return /^[a-z0-9_.-]+\/[a-z0-9_.-]+(?:\/[a-z0-9_.-]+)?$/.test(text)
}

/** Whether a platform is what was asked for: `linux/arm64` means each of its variants. */
export function isOfPlatform(platform: string | undefined, asked: string): boolean {
  return platform === asked || platform?.startsWith(`${asked}/`) === true
}

/** The platform of this process, as images call it. */
export function ownPlatform(): string {
  const architectures: Record<string, string> = { x64: 'amd64', ia32: '386' }
  // Images run in a virtual machine with Linux elsewhere.
  return `linux/${architectures[process.arch] ?? process.arch}`
}

function platformText(value: unknown): string | undefined {
  const { os, architecture, variant } = fieldsOf(value)
  const parts = [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])]
  const text = parts.every((part) => typeof part === 'string') ? parts.join('/') : ''
  return isPlatform(text) && !text.startsWith('unknown/') ? text : undefined
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'))
  } catch {
    return undefined
  }
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}
