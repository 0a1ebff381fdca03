import type { Digest } from '../../proxy/oci/digest.ts'
import type { PeerId } from '../swarm/ports.ts'
import { quartersPerChunk } from '../verify/quarter.ts'
import { SharedEntry } from './entry.ts'
import { EntryTable, type EntryTableOptions } from './entry-table.ts'
import { EntryFetching, type EntryHost } from './fetching.ts'
import { Foreseen } from './foreseen.ts'
import type { FetchedBlob, Fetching, LocalBlob } from './local-blob.ts'
import type { BlobId } from './plan/messages.ts'
import type { Event } from './plan/steps.ts'
import type { Runner } from './runner.ts'
import type { Serving } from './serving.ts'
import { type SharedStore, StoredBlobs, storedBlob, unknownBlob } from './stored.ts'

interface EntriesOptions extends EntryTableOptions {
  readonly serving: Serving
  readonly content: SharedStore
}

/** Above this number of blobs that are looked for in the store, peers are refused. They name those of an image in one moment. */
const MAX_OPENING = 512

/** The blobs that take part here: those that are fetched, or soon will be, and those of the store that peers ask for. */
export class Entries implements EntryHost {
  readonly #options: EntriesOptions
  readonly #table: EntryTable
  readonly #stored: StoredBlobs
  /** Those of them that will soon be fetched. */
  readonly foreseen = new Foreseen((digests) => this.#past(digests))

  constructor(options: EntriesOptions) {
    this.#options = options
    this.#stored = new StoredBlobs(options.content, (found) => this.#found(found))
    this.#table = new EntryTable(options)
  }

  get size(): number {
    return this.#table.size
  }

  get isBehind(): boolean {
    return this.#options.runner.plan.isBehind
  }

  of(blob: BlobId): SharedEntry | undefined {
    return this.#table.of(blob)
  }

  /** A blob is fetched from now on. */
  fetch(digest: Digest, blob: FetchedBlob): Fetching {
    const before = this.#table.of(digest)
    if (before?.isForeseen === true) return this.#wanted(before, blob)
    const entry = new SharedEntry(digest, blob, blob)
    const known = this.#table.replace(entry)
    this.step({ kind: 'blobs', blobs: [{ blob: digest, chunks: undefined, held: [], isWanted: true }] })
    this.name(entry, known)
    return new EntryFetching(entry, this)
  }

  /**
   * Blobs that clients will probably ask for soon, which are not held: coordinators and those who have them are told of all at once,
   * and nothing is fetched. @returns those that take part since now
   */
  foresee(digests: readonly Digest[]): readonly Digest[] {
    const added: Digest[] = []
    const named: Event[] = []
    for (const digest of digests) {
      const before = this.#table.of(digest)
      if (before === undefined ? !this.#table.hasRoom() : !before.isOpening) continue
      const entry = new SharedEntry(digest, unknownBlob, undefined)
      entry.isForeseen = true
      const peers = this.#table.replace(entry)
      if (peers.length > 0) named.push({ kind: 'named', blob: digest, peers })
      added.push(digest)
    }
    const blobs = added.map((blob) => ({ blob, chunks: undefined, held: [], isWanted: false }))
    if (added.length > 0) this.#options.runner.step([{ kind: 'blobs', blobs }, ...named])
    this.foreseen.add(digests.filter((digest) => this.#table.of(digest)?.isForeseen === true))
    return added
  }

  /** A peer speaks of a blob that takes no part yet. @returns undefined where there is no room for more */
  invite(digest: Digest): SharedEntry | undefined {
    if (this.#stored.size >= MAX_OPENING || !this.#table.hasRoom()) return undefined
    const entry = new SharedEntry(digest, unknownBlob, undefined)
    entry.isOpening = true
    this.#table.add(entry)
    this.#stored.open(digest)
    return entry
  }

  /** A blob of the store is not there any more, or is about to be deleted. Resolves when its file is closed. */
  async withdraw(entry: SharedEntry): Promise<void> {
    if (this.#table.isCurrent(entry) && entry.isStored) this.#table.remove(entry)
    await entry.close()
  }

  async close(): Promise<void> {
    this.foreseen.stop()
    await this.#table.close()
  }

  /** A blob that nobody asks for takes no part, unless it is being fetched. */
  look(entry: SharedEntry): void {
    const isNeeded = entry.fetched !== undefined || entry.isForeseen || entry.isOpening
    if (!isNeeded && entry.peers.size === 0 && this.#table.isCurrent(entry)) this.#table.remove(entry)
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
    return this.#table.isCurrent(entry)
  }

  /** Somebody has spoken of a blob, or is given some of it. */
  use(entry: SharedEntry): void {
    this.#table.use(entry)
  }

  step(event: Parameters<Runner['step']>[0]): void {
    this.#options.runner.step(event)
  }

  report(entry: SharedEntry, quarter: number): void {
    this.holds(entry, quarter)
  }

  begin(entry: SharedEntry, size: number, held: Iterable<number>): void {
    entry.begin(size, held)
    const { digest: blob, chunks = 0 } = entry
    // In one step: what is held is not to be asked for in between.
    this.#options.runner.step([{ kind: 'sized', blob, chunks, held: entry.wholeChunks() }, ...entry.partsHeld()])
    this.#options.serving.held(entry)
    this.usable(entry)
    const { partners, outbox } = this.#options
    // Those that have said how long it is wait for nothing but checkpoints: they are told with the first question.
    for (const [{ id }, acquaintance] of partners.acquaintances(entry))
      if (!acquaintance.hasAnswered || entry.blob.list.known > 0) outbox.list(id, acquaintance)
  }

  restart(entry: SharedEntry, held: Iterable<number>): void {
    const { digest: blob, size } = entry
    const acquaintances = [...this.#options.partners.acquaintances(entry)]
    entry.isRestarting = true
    this.step({ kind: 'drop', blob })
    for (const [{ id }, acquaintance] of acquaintances) {
      this.#options.outbox.retract(id, acquaintance)
      acquaintance.rewind()
    }
    if (size !== undefined) entry.begin(size, held)
    this.#options.runner.step([{ kind: 'blobs', blobs: [entry.planned(true)] }, ...entry.partsHeld()])
    entry.isRestarting = false
    this.#options.serving.held(entry)
    this.name(
      entry,
      acquaintances.map(([{ id }]) => id),
    )
    this.usable(entry)
  }

  usable(entry: SharedEntry): void {
    for (const [partner] of this.#options.partners.acquaintances(entry)) {
      const event = partner.usable(entry.digest)
      if (event.log.length > 0) this.step(event)
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
    this.step(partner.usable(entry.digest))
  }

  name(entry: SharedEntry, peers: Iterable<PeerId>): void {
    const named = [...peers]
    if (named.length > 0) this.step({ kind: 'named', blob: entry.digest, peers: named })
  }

  expects(entry: SharedEntry, chunk?: number): boolean {
    return this.#options.runner.plan.expects(entry.digest, chunk)
  }

  awaitsAnswer(entry: SharedEntry): boolean {
    return this.#options.partners.mayAnswer(entry)
  }

  end(entry: SharedEntry, isHeld: boolean): void {
    const { fetched, quarters } = entry
    if (fetched === undefined) return
    const { facts } = fetched
    if (!isHeld || facts === undefined || entry.isAlone) {
      this.#table.remove(entry)
      return
    }
    for (let quarter = 0; quarter < quarters; quarter++) this.holds(entry, quarter)
    entry.moveTo(storedBlob(facts, fetched.list.encode(0), () => this.#options.content.open(entry.digest)))
    entry.fetched = undefined
    this.use(entry)
    this.look(entry)
  }

  /** Blobs were looked for in the store. */
  #found(found: ReadonlyMap<Digest, LocalBlob | undefined>): void {
    const opened: SharedEntry[] = []
    for (const [digest, blob] of found) {
      const entry = this.#table.of(digest)
      if (entry === undefined || !entry.isOpening) continue
      entry.isOpening = false
      if (blob?.facts === undefined) {
        this.#table.dismiss(entry)
        continue
      }
      entry.blob = blob
      entry.begin(blob.facts.size, [])
      for (let quarter = 0; quarter < entry.quarters; quarter++) entry.hold(quarter)
      opened.push(entry)
    }
    if (opened.length === 0) return
    const blobs = opened.map((entry) => entry.planned(false))
    const told: Event[] = []
    for (const entry of opened)
      for (const [partner] of this.#options.partners.acquaintances(entry)) told.push(partner.usable(entry.digest))
    // In one step, so that each of them is told of all in one message.
    this.#options.runner.step([{ kind: 'blobs', blobs }, ...told])
    for (const entry of opened) this.look(entry)
  }

  /** A blob that was foreseen is fetched: its neighbours are known, and what they said holds. */
  #wanted(entry: SharedEntry, blob: FetchedBlob): Fetching {
    const { digest } = entry
    const { partners, runner } = this.#options
    this.foreseen.delete(digest)
    entry.isForeseen = false
    entry.blob = blob
    entry.fetched = blob
    const isOffered = [...partners.acquaintances(entry)].some(([, { hasAll }]) => hasAll)
    this.step({ kind: 'wanted', blob: digest, isOffered })
    // The fetch has its hold then.
    queueMicrotask(() => {
      if (!this.#table.isCurrent(entry) || entry.fetched !== blob) return
      for (const [{ id }, acquaintance] of [...partners.acquaintances(entry)]) {
        if (acquaintance.recall(id, blob)) continue
        // They speak of it from the beginning.
        blob.parted(id)
        runner.step([
          { kind: 'part', blob: digest, peer: id },
          { kind: 'named', blob: digest, peers: [id] },
        ])
      }
    })
    return new EntryFetching(entry, this)
  }

  /** Nobody has asked for blobs that were foreseen: peers and coordinators are told that they take no part. */
  #past(digests: readonly Digest[]): void {
    const entries = digests.flatMap((digest) => this.#table.of(digest) ?? []).filter(({ isForeseen }) => isForeseen)
    this.#options.runner.step(entries.map(({ digest }) => ({ kind: 'drop', blob: digest })))
    for (const entry of entries) this.#table.forget(entry)
  }
}
