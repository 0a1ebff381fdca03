import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import { quartersPerChunk } from '../verify/quarter.ts'
import type { Acquaintance } from './acquaintance.ts'
import { SharedEntry } from './entry.ts'
import { EntryFetching, type EntryHost } from './fetching.ts'
import type { FetchedBlob, Fetching, LocalBlob } from './local-blob.ts'
import type { Outbox } from './outbox.ts'
import type { Partner, Partners } from './partner.ts'
import type { BlobId } from './plan/messages.ts'
import type { Runner } from './runner.ts'
import type { Serving } from './serving.ts'
import { notFound, type SharedStore, StoredBlobs, storedBlob } from './stored.ts'

interface EntriesOptions {
  readonly runner: Runner
  readonly partners: Partners
  readonly outbox: Outbox
  readonly serving: Serving
  readonly content: SharedStore
  /** How long a blob of the store takes part after anybody has spoken of it, in ms. */
  readonly keptMs: number
}

/** Above this number of blobs that take part, one of the store makes room for the next, or, where there is none, peers are refused. */
const MAX_ENTRIES = 4_096

/** Above this number of blobs that are looked for in the store, peers are refused. They name those of an image in one moment. */
const MAX_OPENING = 512

/** How long a peer that was named may take to say what it has of a blob, in ms, before it counts as one that has nothing. */
const ANSWER_MS = 5_000

/** The blobs that take part here: those that are fetched, and those of the store that peers ask for. */
export class Entries implements EntryHost {
  readonly #options: EntriesOptions
  /** The one that was used longest ago first. */
  readonly #entries = new Map<Digest, SharedEntry>()
  readonly #stored: StoredBlobs
  readonly #timer: NodeJS.Timeout

  constructor(options: EntriesOptions) {
    this.#options = options
    this.#stored = new StoredBlobs(options.content, (found) => this.#found(found))
    this.#timer = setInterval(() => this.#letGo(), options.keptMs / 4).unref()
  }

  get size(): number {
    return this.#entries.size
  }

  of(blob: BlobId): SharedEntry | undefined {
    return this.#entries.get(blob as Digest)
  }

  /** A blob is fetched from now on. */
  fetch(digest: Digest, blob: FetchedBlob): Fetching {
    const before = this.#entries.get(digest)
    const known = before === undefined ? [] : [...before.peers]
    // Peers say again what they told while nobody listened.
    if (before?.isOpening === true) this.#dismiss(before)
    else if (before !== undefined) this.#remove(before)
    const entry = new SharedEntry(digest, blob, blob)
    this.#entries.set(digest, entry)
    this.step({ kind: 'blobs', blobs: [{ blob: digest, chunks: undefined, held: [], isWanted: true }] })
    this.name(entry, known)
    return new EntryFetching(entry, this)
  }

  /** A peer speaks of a blob that takes no part yet. @returns undefined where there is no room for more */
  invite(digest: Digest): SharedEntry | undefined {
    if (this.#stored.size >= MAX_OPENING || !this.#hasRoom()) return undefined
    const entry = new SharedEntry(digest, notFound, undefined)
    entry.isOpening = true
    this.#entries.set(digest, entry)
    this.#stored.open(digest)
    return entry
  }

  /** Somebody has spoken of a blob, or is given some of it. */
  use(entry: SharedEntry): void {
    if (!this.isCurrent(entry)) return
    entry.usedAt = performance.now()
    this.#entries.delete(entry.digest)
    this.#entries.set(entry.digest, entry)
  }

  /** A blob of the store is not there any more, or is about to be deleted. Resolves when its file is closed. */
  async withdraw(entry: SharedEntry): Promise<void> {
    if (this.isCurrent(entry) && entry.isStored) this.#remove(entry)
    await entry.close()
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#entries.values()].map((entry) => entry.close()))
  }

  /** A blob that nobody asks for takes no part, unless it is being fetched. */
  look(entry: SharedEntry): void {
    if (entry.fetched === undefined && entry.peers.size === 0 && !entry.isOpening && this.isCurrent(entry))
      this.#remove(entry)
  }

  /** A quarter is held, which the plan was told of, or is told now: it may have come out of order. */
  holds(entry: SharedEntry, quarter: number): void {
    const { runner, serving } = this.#options
    entry.hold(quarter)
    const blob = entry.digest
    const chunk = Math.floor(quarter / quartersPerChunk)
    for (;;) {
      const parts = runner.plan.partsOf(blob, chunk)
      if (parts >= quartersPerChunk || !entry.has(chunk * quartersPerChunk + parts)) break
      this.step({ kind: 'read', blob, chunk, quarter: parts })
      if (runner.plan.partsOf(blob, chunk) === parts) break
    }
    serving.held(entry)
  }

  isCurrent(entry: SharedEntry): boolean {
    return this.#entries.get(entry.digest) === entry
  }

  step(event: Parameters<Runner['step']>[0]): void {
    this.#options.runner.step(event)
  }

  report(entry: SharedEntry, quarter: number): void {
    this.holds(entry, quarter)
  }

  begin(entry: SharedEntry, size: number, held: Iterable<number>): void {
    const quarters = [...held]
    entry.begin(size, quarters)
    const { digest: blob, chunks = 0 } = entry
    this.step({ kind: 'sized', blob, chunks, held: entry.wholeChunks() })
    for (const quarter of quarters) this.holds(entry, quarter)
    this.usable(entry)
    for (const [{ id }, acquaintance] of this.#acquaintances(entry)) this.#options.outbox.list(id, acquaintance)
  }

  restart(entry: SharedEntry, held: Iterable<number>): void {
    const { digest: blob, size, chunks } = entry
    const acquaintances = [...this.#acquaintances(entry)]
    const quarters = [...held]
    entry.isRestarting = true
    this.step({ kind: 'drop', blob })
    for (const [{ id }, acquaintance] of acquaintances) {
      this.#options.outbox.retract(id, acquaintance)
      acquaintance.rewind()
    }
    if (size !== undefined) entry.begin(size, quarters)
    this.step({ kind: 'blobs', blobs: [{ blob, chunks, held: entry.wholeChunks(), isWanted: true }] })
    entry.isRestarting = false
    for (const quarter of quarters) this.holds(entry, quarter)
    this.name(
      entry,
      acquaintances.map(([{ id }]) => id),
    )
    this.usable(entry)
  }

  usable(entry: SharedEntry): void {
    for (const [{ id, free }, acquaintance] of this.#acquaintances(entry)) {
      const log = acquaintance.usable()
      if (log.length > 0) this.#tell(entry, id, free, log)
    }
  }

  follow(entry: SharedEntry, peer: PeerId, isFollowed: boolean): void {
    const partner = this.#options.partners.get(peer)
    const acquaintance = partner?.acquaintances.get(entry.digest)
    if (partner === undefined || acquaintance === undefined || acquaintance.isFollowed === isFollowed) return
    acquaintance.isFollowed = isFollowed
    if (!isFollowed) {
      this.#options.outbox.leave(partner, entry.digest)
      // It stays a neighbour that may be given chunks, and has none.
      this.step({ kind: 'message', from: peer, message: { kind: 'bye', blob: entry.digest } })
      acquaintance.rewind()
    }
    this.#tell(entry, peer, partner.free, acquaintance.usable())
  }

  name(entry: SharedEntry, peers: Iterable<PeerId>): void {
    const named = [...peers]
    if (named.length > 0) this.step({ kind: 'named', blob: entry.digest, peers: named })
  }

  expects(entry: SharedEntry, chunk?: number): boolean {
    return this.#options.runner.plan.expects(entry.digest, chunk)
  }

  awaitsAnswer(entry: SharedEntry): boolean {
    const oldest = performance.now() - ANSWER_MS
    for (const [, { hasAnswered, metAt }] of this.#acquaintances(entry)) if (!hasAnswered && metAt > oldest) return true
    return false
  }

  end(entry: SharedEntry, isHeld: boolean): void {
    const { fetched, quarters } = entry
    if (fetched === undefined) return
    const { facts } = fetched
    if (!isHeld || facts === undefined || entry.isAlone) {
      this.#remove(entry)
      return
    }
    for (let quarter = 0; quarter < quarters; quarter++) this.holds(entry, quarter)
    entry.moveTo(storedBlob(facts, fetched.list.encode(0), () => this.#options.content.open(entry.digest)))
    entry.fetched = undefined
    this.use(entry)
    this.look(entry)
  }

  /** Who speaks of a blob here, and what was said of it. */
  *#acquaintances({ digest, peers }: SharedEntry): Generator<readonly [Partner, Acquaintance]> {
    for (const peer of peers) {
      const partner = this.#options.partners.get(peer)
      const acquaintance = partner?.acquaintances.get(digest)
      if (partner !== undefined && acquaintance !== undefined) yield [partner, acquaintance]
    }
  }

  #tell(entry: SharedEntry, from: PeerId, free: number, log: readonly number[]): void {
    const news = { free, blobs: [{ blob: entry.digest, log }] }
    this.step({ kind: 'message', from, message: { kind: 'news', news } })
  }

  /** Blobs were looked for in the store. */
  #found(found: ReadonlyMap<Digest, LocalBlob | undefined>): void {
    const opened: SharedEntry[] = []
    for (const [digest, blob] of found) {
      const entry = this.#entries.get(digest)
      if (entry === undefined || !entry.isOpening) continue
      entry.isOpening = false
      if (blob?.facts === undefined) {
        this.#dismiss(entry)
        continue
      }
      entry.blob = blob
      entry.begin(blob.facts.size, [])
      for (let quarter = 0; quarter < entry.quarters; quarter++) entry.hold(quarter)
      opened.push(entry)
    }
    if (opened.length === 0) return
    const blobs = opened.map((entry) => ({
      blob: entry.digest,
      chunks: entry.chunks,
      held: entry.wholeChunks(),
      isWanted: false,
    }))
    this.step({ kind: 'blobs', blobs })
    for (const entry of opened) {
      for (const [{ id, free }, acquaintance] of this.#acquaintances(entry))
        this.#tell(entry, id, free, acquaintance.usable())
      this.look(entry)
    }
  }

  /** A blob of the store that nobody has spoken of for long is told to be gone; whoever needs it asks for it again. */
  #letGo(): void {
    const before = performance.now() - this.#options.keptMs
    for (const entry of [...this.#entries.values()]) {
      if (entry.usedAt > before) return
      if (entry.isStored) this.#remove(entry)
    }
  }

  #hasRoom(): boolean {
    if (this.#entries.size < MAX_ENTRIES) return true
    const oldest = [...this.#entries.values()].find((entry) => entry.isStored)
    if (oldest !== undefined) this.#remove(oldest)
    return oldest !== undefined
  }

  /** The plan does not know the blob: those who speak of it are told that it takes no part. */
  #dismiss(entry: SharedEntry): void {
    this.#entries.delete(entry.digest)
    this.#refuse(entry)
  }

  #remove(entry: SharedEntry): void {
    this.step({ kind: 'drop', blob: entry.digest })
    this.#entries.delete(entry.digest)
    // Those who are no neighbours for it, but have spoken of it, and may be told of it.
    this.#refuse(entry)
    entry.close().catch(() => {})
  }

  #refuse(entry: SharedEntry): void {
    const { digest } = entry
    for (const [partner] of [...this.#acquaintances(entry)]) {
      this.#options.outbox.refuse(partner.id, digest)
      partner.part(digest)
      partner.unname(digest)
    }
  }
}
