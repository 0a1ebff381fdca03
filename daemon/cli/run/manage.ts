import { ControlClient } from '../control.ts'
import type { NodeFlags } from '../node-flags.ts'
import { formatBytes } from './terminal.ts'

interface Listed {
  readonly name: string
  readonly digest: string
  readonly origin: string
  readonly platforms: readonly string[]
  readonly incomplete: readonly {
    readonly platform: string
    readonly missingBlobs: number
    readonly missingBytes: number
  }[]
  readonly isComplete: boolean
  readonly bytes: number
  readonly createdAt: number
  readonly isPinned: boolean
}

/** A tag that a peer has pushed. */
interface Offer {
  readonly name: string
  readonly digest: string
  readonly publisher: string
  readonly fingerprint: string
  readonly isAccepted: boolean
  readonly isHere: boolean
}

interface Freed {
  readonly blobs: number
  readonly bytes: number
}

export async function listImages(flags: NodeFlags): Promise<void> {
  type Answer = { readonly images: readonly Listed[]; readonly offers: readonly Offer[] }
  await ask(flags, 'images', {}, ({ images, offers }: Answer) => {
    const here = imagesText(images, Date.now())
    return offers.length === 0 ? here : `${here}\n\n${offersText(offers)}`
  })
}

export async function unpin(image: string, flags: NodeFlags): Promise<void> {
  await ask(flags, 'unpin', { image }, ({ name }: { name: string }) => `${name} may be evicted again`)
}

export async function remove(image: string, flags: NodeFlags): Promise<void> {
  await ask(flags, 'remove', { image }, ({ name, ...freed }: { name: string } & Freed) => {
    return freed.blobs === 0
      ? `${name} is removed; other images need all of it`
      : `${name} is removed: ${freedText(freed)}`
  })
}

export async function refresh(image: string, flags: NodeFlags): Promise<void> {
  type Answer = { readonly name: string; readonly before?: string; readonly digest: string }
  await ask(flags, 'refresh', { image }, ({ name, before, digest }: Answer) => {
    if (before === digest) return `${name} is ${digest}, as before`
    return before === undefined ? `${name} is ${digest}` : `${name} is ${digest} now; it was ${before}`
  })
}

export async function collectGarbage({ dryRun = false, ...flags }: NodeFlags & { dryRun?: boolean }): Promise<void> {
  type Answer = { readonly unnamed: Freed; readonly parts: Freed }
  await ask(flags, 'collect', { isDry: dryRun }, ({ unnamed, parts }: Answer) => {
    const verb = dryRun ? 'would be' : 'are'
    return `of no image here: ${freedText(unnamed)} ${verb} removed\nparts of blobs: ${freedText(parts)} ${verb} removed`
  })
}

async function ask<Answer>(
  { json, ...flags }: NodeFlags,
  operation: string,
  input: object,
  text: (answer: Answer) => string,
): Promise<void> {
  const answer = await ControlClient.use(flags, (node) => node.ask({ operation, input }))
  process.stdout.write(`${json ? JSON.stringify(answer, null, 2) : text(answer as Answer)}\n`)
}

function freedText({ blobs, bytes }: Freed): string {
  return `${blobs} ${blobs === 1 ? 'blob' : 'blobs'}, ${formatBytes(bytes)}`
}

const heads = ['NAME', 'DIGEST', 'PLATFORMS', 'SIZE', 'AGE', 'FROM', 'STATE']

/** Images as a table. @param now in ms since the epoch */
export function imagesText(images: readonly Listed[], now: number): string {
  if (images.length === 0) return 'no image is here: "layerd pull" or a client that pulls brings one'
  const rows = images.map((image) => [
    // A name with a digest has it in the next column, too.
    image.name.replace(/@sha(?:256|512):.*$/, ''),
    shortDigest(image.digest),
    image.platforms.join(' ') || '-',
    formatBytes(image.bytes),
    ageText(now - image.createdAt),
    image.origin,
    stateText(image),
  ])
  return table([heads, ...rows])
}

/** What peers offer as a table. */
export function offersText(offers: readonly Offer[]): string {
  const rows = offers.map(({ name, digest, fingerprint, isAccepted, isHere }) => [
    name,
    shortDigest(digest),
    fingerprint,
    isAccepted ? `accepted${isHere ? ', here' : ''}` : `not accepted: layerd trust ${fingerprint}`,
  ])
  return table([['OFFERED BY PEERS', 'DIGEST', 'BY', 'STATE'], ...rows])
}

function shortDigest(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12)
}

function table(rows: readonly (readonly string[])[]): string {
  const columns = rows[0]?.length ?? 0
  const widths = Array.from({ length: columns }, (_, column) => {
    return rows.reduce((widest, row) => Math.max(widest, row[column]?.length ?? 0), 0)
  })
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}

function stateText({ isComplete, incomplete, isPinned, origin }: Listed): string {
  const missing = incomplete.map(({ platform, missingBlobs, missingBytes }) => {
    return `${platform} lacks ${missingBlobs} ${missingBlobs === 1 ? 'blob' : 'blobs'} (${formatBytes(missingBytes)})`
  })
  const state = isComplete ? 'complete' : missing.join(', ') || 'only its manifest'
  return isPinned && origin !== 'pushed' ? `${state}, pinned` : state
}

const spans = [
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1_000, 's'],
] as const

function ageText(ms: number): string {
  const [span, unit] = spans.find(([length]) => ms >= length) ?? [1_000, 's']
  return `${Math.max(0, Math.floor(ms / span))} ${unit}`
}
