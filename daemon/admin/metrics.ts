import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { StoreUsage } from '../store/usage.ts'
import type { SwarmStatus } from '../swarm/ports.ts'
import { type UncachedReason, uncachedReasons } from '../uncached.ts'

/** What is read when metrics or status are asked for. */
export interface Readings {
  store(): StoreUsage
  swarm(): Pick<SwarmStatus, 'peers' | 'banned' | 'provided' | 'provideQueue'>
  flights(): number
  /** Of all fetches under way. */
  provisionalBytes(): number
}

/** The metrics of a node. Their names are a stable interface: fleets are watched by them. */
export class Metrics {
  readonly registry = new Registry()
  readonly #requests = this.#counter('layerd_requests_total', 'Requests of clients, by status', 'status')
  readonly #sources = this.#counter(
    'layerd_request_sources_total',
    'Answered requests, by source of the content',
    'source',
  )
  readonly #damaged = this.#counter('layerd_damaged_blobs_total', 'Blobs found damaged on disk and dropped')
  readonly #wasted = this.#counter(
    'layerd_wasted_bytes_total',
    'Bytes of chunks that were of no use, by why: wrong, dropped with a list that was false, or a duplicate',
    'reason',
  )
  readonly #uncached = this.#counter(
    'layerd_uncached_blobs_total',
    'Blobs and manifests that could not be kept, by why: no room on the disk, none in the quota, or another error',
    'reason',
  )
  readonly #uncachedBlobs: Record<UncachedReason, number> = { disk: 0, quota: 0, error: 0 }
  readonly #verified = this.#counter('layerd_verified_bytes_total', 'Bytes of fetched blobs that their digest proved')
  readonly #duration = new Histogram({
    name: 'layerd_request_duration_seconds',
    help: 'Time from a request to the end of its response',
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300],
    registers: [this.registry],
  })
  readonly #totals = { fetched: { upstream: 0, peer: 0, far: 0 }, served: { client: 0, peer: 0 } }

  constructor() {
    collectDefaultMetrics({ register: this.registry })
    const { fetched, served } = this.#totals
    this.#bytes(
      'layerd_fetched_bytes_total',
      'Bytes received, by where they came from: upstream, a peer of this site, or one of another (far)',
      'source',
      fetched,
    )
    this.#bytes('layerd_served_bytes_total', 'Bytes sent, by to whom', 'to', served)
    for (const reason of ['wrong', 'dropped', 'duplicate']) this.#wasted.inc({ reason }, 0)
    for (const reason of uncachedReasons) this.#uncached.inc({ reason }, 0)
    this.#damaged.inc(0)
    this.#verified.inc(0)
  }

  fetched(source: 'upstream' | 'peer' | 'far', bytes: number): void {
    this.#totals.fetched[source] += bytes
  }

  served(to: 'client' | 'peer', bytes: number): void {
    this.#totals.served[to] += bytes
  }

  /** A whole blob was proven. */
  verified(bytes: number): void {
    this.#verified.inc(bytes)
  }

  wasted(reason: 'wrong' | 'dropped' | 'duplicate', bytes: number): void {
    this.#wasted.inc({ reason }, bytes)
  }

  /** Something was given to clients and could not be kept. */
  uncached(reason: UncachedReason): void {
    this.#uncached.inc({ reason })
    this.#uncachedBlobs[reason]++
  }

  get uncachedBlobs(): Readonly<Record<UncachedReason, number>> {
    return { ...this.#uncachedBlobs }
  }

  /** @param ms from the request to the end of its response */
  request(status: number, source: string | undefined, ms: number): void {
    this.#requests.inc({ status: String(status) })
    if (source !== undefined) this.#sources.inc({ source })
    this.#duration.observe(ms / 1000)
  }

  damaged(): void {
    this.#damaged.inc()
  }

  /** Bytes since the start. */
  get totals(): {
    readonly fetchedBytes: { readonly upstream: number; readonly peer: number; readonly far: number }
    readonly servedBytes: { readonly client: number; readonly peer: number }
  } {
    return { fetchedBytes: { ...this.#totals.fetched }, servedBytes: { ...this.#totals.served } }
  }

  /** Adds gauges that are read at each scrape. */
  observe(readings: Readings): void {
    this.#gauge('layerd_store_bytes', 'Bytes of blobs on disk', () => readings.store().bytes)
    this.#gauge('layerd_store_limit_bytes', 'Quota for blobs on disk', () => readings.store().maxBytes)
    this.#gauge('layerd_store_blobs', 'Blobs on disk', () => readings.store().blobs)
    this.#gauge('layerd_disk_free_bytes', 'Free bytes on the disk of the store', () => readings.store().freeBytes ?? 0)
    this.#gauge('layerd_disk_reserve_bytes', 'Bytes that are to stay free there', () => readings.store().minFreeBytes)
    this.#total('layerd_evicted_blobs_total', 'Blobs evicted for their room', () => readings.store().evictedBlobs)
    this.#total('layerd_evicted_bytes_total', 'Bytes of evicted blobs', () => readings.store().evictedBytes)
    this.#gauge('layerd_peers', 'Connected peers', () => readings.swarm().peers.length)
    this.#gauge('layerd_banned_peers', 'Peers banned at present', () => readings.swarm().banned.length)
    this.#bannedPeers(() => readings.swarm().banned.map(({ peerId }) => peerId))
    this.#gauge('layerd_provided_blobs', 'Blobs announced to peers', () => readings.swarm().provided)
    this.#gauge('layerd_provide_queue_blobs', 'Blobs waiting to be announced', () => readings.swarm().provideQueue)
    this.#gauge('layerd_flights', 'Fetches under way', () => readings.flights())
    this.#gauge(
      'layerd_provisional_bytes',
      'Bytes of fetches under way that fit checkpoints which are not proven yet',
      () => readings.provisionalBytes(),
    )
  }

  /** One series for each peer that is banned at present; those are few. */
  #bannedPeers(read: () => readonly string[]): void {
    new Gauge({
      name: 'layerd_banned_peer_info',
      help: '1 for each peer that is banned at present',
      labelNames: ['peer'],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const peer of read()) this.set({ peer }, 1)
      },
    })
  }

  #counter(name: string, help: string, label?: string): Counter {
    return new Counter({ name, help, labelNames: label === undefined ? [] : [label], registers: [this.registry] })
  }

  /** Told at each scrape: a counter of prom-client is too slow to count each piece that is moved. */
  #bytes(name: string, help: string, label: string, totals: Readonly<Record<string, number>>): void {
    new Counter({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset()
        for (const [value, bytes] of Object.entries(totals)) this.inc({ [label]: value }, bytes)
      },
    })
  }

  /** A counter that somebody else counts. */
  #total(name: string, help: string, read: () => number): void {
    new Counter({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.reset()
        this.inc(read())
      },
    })
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read())
      },
    })
  }
}
