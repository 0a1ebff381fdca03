import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Digest } from '../../../proxy/oci/digest.ts'
import type { PeerPublisher } from '../announce/peer-publisher.ts'
import type { PeerId } from '../ports.ts'
import type { RoutedPublisher } from '../routing/publisher.ts'
import { LONGEST_PAUSE_MS, MAX_QUEUED, MAX_WRITTEN, REFRESH_MS, WITHDRAW_MS } from './constants.ts'
import { Pauses } from './pauses.ts'
import { AdvertiseQueue, type Job } from './queue.ts'
import type { ProviderRecords } from './records.ts'

interface AdvertiserOptions {
  readonly records: Pick<ProviderRecords, 'keep' | 'remove' | 'retain'>
  /** Filled here: all blobs that are announced, as many as the store holds. Publishing to peers reads it. */
  readonly shared: Set<Digest>
  readonly peers: Pick<
    PeerPublisher,
    'start' | 'stop' | 'connected' | 'disconnected' | 'place' | 'withdraw' | 'refresh' | 'queued'
  >
  /** Announces where the swarm is larger than what this node sees of it, and does nothing elsewhere. */
  readonly routed: Pick<RoutedPublisher, 'start' | 'stop' | 'add' | 'withdraw' | 'queued'>
  /** Complete blobs that may be shared, newest first. */
  readonly held: () => AsyncIterable<Digest>
  readonly log: Logger
}

/**
 * Lets the swarm know which blobs this node has: by records of its own, which answer whoever asks it, by telling the connected
 * peers nearest to each blob's key, and in a large swarm those that are nearest of all. All that is held is announced after a start and
 * every twelve hours; what is fresh, at once.
 */
export class Advertiser {
  readonly #options: AdvertiserOptions
  /** Blobs whose own record is to be written. */
  readonly #queue = new AdvertiseQueue(MAX_QUEUED)
  /** Those whose own record is written. */
  readonly #provided = new Set<Digest>()
  readonly #pauses = new Pauses()
  #refresh: NodeJS.Timeout | undefined
  #writing: readonly Digest[] = []
  #written: Promise<void> = Promise.resolve()
  #writer: Promise<void> = Promise.resolve()

  constructor(options: AdvertiserOptions) {
    this.#options = options
  }

  /** How many blobs were announced and not withdrawn. */
  get provided(): number {
    return this.#provided.size
  }

  /** How many are still to be told to the peer that is furthest behind, or are queued otherwise. */
  get queued(): number {
    const { peers, routed } = this.#options
    return Math.max(this.#queue.size + this.#writing.length, peers.queued) + routed.queued
  }

  start(): void {
    const { peers, routed } = this.#options
    peers.start()
    routed.start()
    this.#writer = this.#dropStaleRecords()
      .then(() => this.#round())
      .then(() => this.#write())
    this.#refresh = setInterval(() => {
      void this.#round()
      peers.refresh()
    }, REFRESH_MS)
  }

  async stop(): Promise<void> {
    const { peers, routed } = this.#options
    clearInterval(this.#refresh)
    this.#pauses.stop()
    this.#queue.endRound()
    await Promise.all([peers.stop(), routed.stop(), this.#writer])
  }

  /** To be called when requests can be sent to a peer. */
  connected(peer: PeerId): void {
    this.#options.peers.connected(peer)
  }

  disconnected(peer: PeerId): void {
    this.#options.peers.disconnected(peer)
  }

  advertise(digest: Digest, fresh: boolean): void {
    const { peers, routed, shared } = this.#options
    if (this.#pauses.stopped.aborted) return
    shared.add(digest)
    this.#queue.add(digest, fresh)
    this.#pauses.wake()
    peers.place(digest)
    routed.add(digest, fresh)
  }

  /** Takes a blob back: this node's record, and those of connected peers. Does not wait for peers. */
  async withdraw(digest: Digest): Promise<void> {
    const { peers, routed, records, shared, log } = this.#options
    this.#queue.delete(digest)
    this.#provided.delete(digest)
    shared.delete(digest)
    peers.withdraw(digest)
    routed.withdraw(digest)
    // the record is removed after an announcement that would write it again
    const writing = this.#writing.includes(digest) ? this.#written : undefined
    await within(WITHDRAW_MS, Promise.resolve(writing))
    try {
      await within(WITHDRAW_MS, records.remove(digest))
    } catch (error) {
      log.debug({ digest, err: error }, 'the local provider record was not removed')
    }
  }

  async #round(): Promise<void> {
    const { held, shared, log } = this.#options
    if (this.#pauses.stopped.aborted) return
    try {
      for await (const digest of held()) shared.add(digest)
    } catch (error) {
      log.warn({ err: error }, 'what is held can not be listed')
    }
    this.#queue.round(held())
    this.#pauses.wake()
  }

  /** Records of an earlier run whose blobs are gone would be told to peers, and renewed by kad-dht. */
  async #dropStaleRecords(): Promise<void> {
    const { records, held, log } = this.#options
    try {
      await records.retain(held(), this.#pauses.stopped)
    } catch (error) {
      if (!this.#pauses.stopped.aborted) log.warn({ err: error }, 'stale provider records were not removed')
    }
  }

  async #write(): Promise<void> {
    while (!this.#pauses.stopped.aborted) {
      const { woken } = this.#pauses
      const jobs = await this.#take()
      const digests = jobs.map(({ digest }) => digest).filter((digest) => this.#options.shared.has(digest))
      if (digests.length === 0) {
        if (jobs.length === 0) await this.#pauses.take(REFRESH_MS, woken)
        continue
      }
      const started = performance.now()
      this.#writing = digests
      this.#written = this.#keep(digests)
      await this.#written
      this.#writing = []
      if (!jobs.some(({ fresh }) => fresh)) await this.#pauses.after(started, woken)
    }
  }

  /** What is fresh; where nothing is, as much of the rest as is written at a time. */
  async #take(): Promise<Job[]> {
    const jobs: Job[] = []
    try {
      for (let job = this.#queue.takeFresh(); job !== undefined; job = this.#queue.takeFresh()) {
        if (jobs.push(job) === MAX_WRITTEN) break
      }
      if (jobs.length > 0) return jobs
      for (let job = await this.#queue.take(); job !== undefined; job = await this.#queue.take()) {
        if (jobs.push(job) === MAX_WRITTEN) break
      }
    } catch (error) {
      this.#options.log.warn({ err: error }, 'what is held can not be listed')
      this.#queue.endRound()
    }
    return jobs
  }

  async #keep(digests: readonly Digest[]): Promise<void> {
    try {
      await this.#options.records.keep(digests)
      for (const digest of digests) if (this.#options.shared.has(digest)) this.#provided.add(digest)
    } catch (error) {
      if (this.#pauses.stopped.aborted) return
      this.#options.log.debug({ err: error }, 'provider records were not written; trying again')
      await this.#pauses.take(LONGEST_PAUSE_MS, this.#pauses.stopped)
      for (const digest of digests) this.#queue.add(digest, false)
    }
  }
}

/** Waits for work, but no longer than that. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  await Promise.race([work, delay(ms, undefined, { ref: false })])
}
