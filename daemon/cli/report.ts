import { z } from 'zod'
import { formatSize } from '../../config/units.ts'
import { nameLines, namesSchema } from './report-names.ts'

/** What `GET /api/v1/status` answers; bytes are totals since the node started. */
export const statusSchema = z.object({
  version: z.string(),
  peerId: z.string(),
  multiaddrs: z.array(z.string()),
  transfer: z.string(),
  peers: z.array(
    z.object({
      peerId: z.string(),
      address: z.string(),
      transfer: z.boolean(),
      transferAddress: z.string().optional(),
      transferProblem: z.string().optional(),
      rttMs: z.number().nullish(),
    }),
  ),
  // A node of an earlier version does not say these.
  transferAnnounce: z.array(z.string()).default([]),
  seeds: z
    .array(
      z.object({
        seed: z.string(),
        reached: z.boolean(),
        isSelf: z.boolean().default(false),
        problem: z.string().optional(),
      }),
    )
    .default([]),
  notReady: z.string().optional(),
  problems: z.array(z.object({ text: z.string() })).default([]),
  banned: z.array(z.object({ peerId: z.string(), until: z.union([z.string(), z.number()]), reason: z.string() })),
  store: z.object({
    bytes: z.number(),
    maxBytes: z.number(),
    blobs: z.number(),
    // A node of an earlier version does not say these.
    keptBytes: z.number().default(0),
    uploadBytes: z.number().default(0),
    freeBytes: z.number().optional(),
    minFreeBytes: z.number().optional(),
    evictedBlobs: z.number().optional(),
    evictedBytes: z.number().optional(),
    unfreedBytes: z.number().optional(),
    uncachedBlobs: z.record(z.string(), z.number()).optional(),
    isShort: z.boolean().optional(),
    records: z.object({ freeBytes: z.number().optional(), minFreeBytes: z.number(), isShort: z.boolean() }).optional(),
    problem: z.string().optional(),
    lastUncached: z.object({ digest: z.string(), message: z.string(), at: z.number() }).optional(),
  }),
  // A node of an earlier version does not say it.
  names: namesSchema.optional(),
  counters: z.object({
    fetchedBytes: z.object({ upstream: z.number(), peer: z.number(), far: z.number().default(0) }),
    servedBytes: z.object({ client: z.number(), peer: z.number() }),
  }),
  uptimeSeconds: z.number(),
})

export type Status = z.output<typeof statusSchema>

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** A number of bytes for reading: at most one decimal. */
function roundSize(bytes: number): string {
  const power = Math.min(Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)), units.length - 1)
  const value = bytes / 2 ** (10 * power)
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`
}

/** A number of seconds for reading, in its two largest units. */
function roundTime(seconds: number): string {
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'm'],
    [Math.floor(seconds) % 60, 's'],
  ] as const
  const first = parts.findIndex(([value]) => value > 0)
  if (first === -1) return '0s'
  return parts
    .slice(first, first + 2)
    .filter(([value]) => value > 0)
    .map(([value, unit]) => `${value}${unit}`)
    .join(' ')
}

function roomText(freeBytes: number, minFreeBytes: number): string {
  return `${roundSize(freeBytes)} free, ${roundSize(minFreeBytes)} are to stay free`
}

function diskLines(store: Status['store']): string[] {
  const {
    problem,
    isShort,
    freeBytes,
    minFreeBytes = 0,
    evictedBlobs = 0,
    evictedBytes = 0,
    unfreedBytes = 0,
    uncachedBlobs = {},
    lastUncached,
    records,
  } = store
  const evicted = evictedBlobs === 0 ? '' : `; ${evictedBlobs} blobs evicted (${roundSize(evictedBytes)})`
  const uncached = Object.values(uncachedBlobs).reduce((sum, blobs) => sum + blobs, 0)
  const at = new Date(lastUncached?.at ?? 0).toISOString()
  return [
    ...(freeBytes === undefined ? [] : [`disk       ${roomText(freeBytes, minFreeBytes)}${evicted}`]),
    ...(unfreedBytes === 0
      ? []
      : [`problem    ${roundSize(unfreedBytes)} were evicted and are not free: a snapshot or an open file holds them`]),
    ...(isShort === true && unfreedBytes === 0
      ? ['problem    others fill the disk, and nothing is left to evict']
      : []),
    ...(records?.freeBytes === undefined
      ? []
      : [`records    on a disk of their own: ${roomText(records.freeBytes, records.minFreeBytes)}`]),
    ...(records?.isShort === true ? ['problem    others fill the disk of the records, so that none are written'] : []),
    ...(problem === undefined ? [] : [`problem    ${problem}`]),
    ...(lastUncached === undefined ? [] : [`not kept   ${uncached} blobs, the last at ${at}: ${lastUncached.message}`]),
  ]
}

function seedText({ reached, isSelf, problem }: Status['seeds'][number]): string {
  if (isSelf) return 'is this node itself'
  return reached ? 'answers' : `is not reached${problem === undefined ? ' yet' : `: ${problem}`}`
}

/** The status as lines for a person. */
export function statusText(status: Status): string {
  const { store, counters } = status
  const share = store.maxBytes > 0 ? ` (${Math.round((100 * store.bytes) / store.maxBytes)} %)` : ''
  const kept = store.keptBytes === 0 ? '' : `, ${roundSize(store.keptBytes)} of it pushed here and kept`
  const uploads = store.uploadBytes === 0 ? '' : `, ${roundSize(store.uploadBytes)} more of pushes under way`
  const far = counters.fetchedBytes.far === 0 ? '' : `, ${roundSize(counters.fetchedBytes.far)} from other sites`
  const until = (time: string | number) => new Date(time).toISOString()
  return `${[
    `layerd ${status.version}, up ${roundTime(status.uptimeSeconds)}`,
    ...(status.notReady === undefined ? [] : [`not ready  ${status.notReady}`]),
    ...status.problems.map(({ text }) => `problem    ${text}`),
    `PeerId     ${status.peerId}`,
    ...nameLines(status.names),
    ...status.multiaddrs.map((address) => `address    ${address}`),
    `transfer   ${status.transfer}`,
    ...status.transferAnnounce.map((place) => `announced  ${place}`),
    ...status.seeds.map((seed) => `seed       ${seed.seed}, ${seedText(seed)}`),
    `store      ${status.store.blobs} blobs, ${roundSize(store.bytes)} of ${formatSize(store.maxBytes)}${share}${kept}${uploads}`,
    ...diskLines(store),
    `fetched    ${roundSize(counters.fetchedBytes.upstream)} from upstream, ${roundSize(counters.fetchedBytes.peer)} from peers${far}`,
    `served     ${roundSize(counters.servedBytes.client)} to clients, ${roundSize(counters.servedBytes.peer)} to peers`,
    `peers      ${status.peers.length}`,
    ...status.peers.map(({ peerId, address, transfer, transferAddress, transferProblem, rttMs }) => {
      const time = typeof rttMs === 'number' ? `, ${rttMs.toFixed(1)} ms` : ''
      const place = transferAddress === undefined ? '' : `, transfer at ${transferAddress}`
      return `  ${peerId}  ${address}${time}${transfer ? place : `, ${transferProblem ?? 'no transfer yet'}`}`
    }),
    ...(status.banned.length === 0 ? [] : [`banned     ${status.banned.length}`]),
    ...status.banned.map((ban) => `  ${ban.peerId}  until ${until(ban.until)}: ${ban.reason}`),
  ].join('\n')}\n`
}
