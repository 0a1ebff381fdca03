import { randomBytes } from 'node:crypto'
import type { LevelDatastore } from 'datastore-level'
import { varint } from 'multiformats'
import { base32 } from 'multiformats/bases/base32'
import { base58btc } from 'multiformats/bases/base58'
import type { PeerId } from '../ports.ts'
import { multihashOf } from './cid.ts'
import {
  MAX_RECORDS,
  MAX_RECORDS_OF_PEER,
  MAX_RECORDS_READ,
  RECORD_LIFETIME_MS,
  RECOUNT_MS,
  RENEW_AFTER_MS,
  SCAN_KEYS,
} from './constants.ts'

/** Where kad-dht keeps provider records: `/dht/provider/<multihash in base32>/<PeerId>`, with the time as a varint. */
const PREFIX = '/dht/provider/'
const END = `${PREFIX}~`

const NEVER = Number.NEGATIVE_INFINITY

interface RecordStoreOptions {
  readonly db: LevelDatastore['db']
  readonly self: PeerId
  /** For tests. */
  readonly bounds?: { readonly ofPeer: number; readonly ofAll: number }
}

/**
 * Provider records on disk, in kad-dht's own place and form: what is put here its lookups find and its clean-up drops, and
 * the other way round. Unlike kad-dht it takes many at once, and bounds how many a peer may have placed here, by whichever way.
 */
export class RecordStore {
  readonly #db: LevelDatastore['db']
  readonly #self: PeerId
  readonly #bounds: { readonly ofPeer: number; readonly ofAll: number }
  /** Of other peers; too high by those that kad-dht dropped since they were counted. */
  #counts = new Map<PeerId, number>()
  #total = 0
  #countedAt = NEVER
  /**
   * One change at a time: what a peer may still place is counted before it is written. This node's own do not wait for those
   * of others.
   */
  readonly #turns: Record<'own' | 'foreign', Promise<unknown>> = { own: Promise.resolve(), foreign: Promise.resolve() }

  constructor({ db, self, bounds = { ofPeer: MAX_RECORDS_OF_PEER, ofAll: MAX_RECORDS } }: RecordStoreOptions) {
    this.#db = db
    this.#self = self
    this.#bounds = bounds
  }

  /**
   * Records that a peer, or this node, has blobs. One that is recent is left as it is. Gives how many keys have a record
   * then: those beyond the bounds have none, except for this node's own.
   */
  async place(provider: PeerId, keys: readonly Uint8Array[]): Promise<number> {
    return await this.#inTurn(provider, async () => {
      const names = [...new Set(keys.map((key) => nameOf(key, provider)))]
      const values = await this.#db.getMany(names)
      const records = names.map((name, index) => ({ name, before: values[index] }))
      const added = records.filter(({ before }) => before === undefined).length
      let room = added === 0 ? 0 : await this.#room(provider, added)
      const kept = records.filter(({ before }) => before !== undefined || room-- > 0)
      const now = Date.now()
      const value = varint.encodeTo(now, new Uint8Array(varint.encodingLength(now)))
      const due = kept.filter(({ before }) => isDue(before, now))
      await this.#db.batch(due.map(({ name }) => ({ type: 'put', key: name, value })))
      this.#count(provider, kept.length - (records.length - added))
      return kept.length
    })
  }

  /** Writes one of kad-dht's own records, within the same bounds; what is beyond them is left out. */
  async put(name: string, value: Uint8Array): Promise<void> {
    const provider = providerOf(name)
    await this.#inTurn(provider, async () => {
      const isNew = (await this.#db.get(name)) === undefined
      if (isNew && (await this.#room(provider, 1)) === 0) return
      await this.#db.put(name, value)
      if (isNew) this.#count(provider, 1)
    })
  }

  /** Removes records that a peer, or this node, has blobs. Gives for how many keys. */
  async withdraw(provider: PeerId, keys: readonly Uint8Array[]): Promise<number> {
    return await this.#inTurn(provider, async () => {
      const names = [...new Set(keys.map((key) => nameOf(key, provider)))]
      const before = await this.#db.getMany(names)
      const present = names.filter((_, index) => before[index] !== undefined)
      await this.#db.batch(present.map((key) => ({ type: 'del', key })))
      this.#count(provider, -present.length)
      return names.length
    })
  }

  /**
   * Who has a blob, by records that have not expired. No more than {@link MAX_RECORDS_READ} are read, from another place on
   * each time: many are of peers that are gone, and the same ones would hide the others.
   */
  async providers(key: Uint8Array): Promise<readonly PeerId[]> {
    const prefix = nameOf(key, '')
    const oldest = Date.now() - RECORD_LIFETIME_MS
    const limit = MAX_RECORDS_READ
    // Nearly always these are all of them, and each read costs.
    let found = await this.#db.iterator({ gt: prefix, lt: `${prefix}~`, limit }).all()
    if (found.length === limit) {
      const start = `${prefix}${somePeer()}`
      const later = await this.#db.iterator({ gte: start, lt: `${prefix}~`, limit }).all()
      found = [...later, ...found.filter(([name]) => name < start)].slice(0, limit)
    }
    return found.filter(([, value]) => timeOf(value) > oldest).map(([name]) => name.slice(prefix.length))
  }

  /** Removes this node's records of all other blobs than these. */
  async retain(keys: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    // in turn: what is placed meanwhile waits, and stays
    await this.#inTurn(this.#self, async () => {
      const keep = new Set<string>()
      for await (const key of keys) {
        signal.throwIfAborted()
        keep.add(nameOf(key, this.#self))
      }
      const own = `/${this.#self}`
      for await (const names of this.#names()) {
        signal.throwIfAborted()
        const stale = names.filter((name) => name.endsWith(own) && !keep.has(name))
        if (stale.length > 0) await this.#db.batch(stale.map((key) => ({ type: 'del', key })))
      }
    })
  }

  /** How many of so many new records a peer may place. */
  async #room(provider: PeerId, wanted: number): Promise<number> {
    if (provider === this.#self) return wanted
    const left = () =>
      Math.min(this.#bounds.ofPeer - (this.#counts.get(provider) ?? 0), this.#bounds.ofAll - this.#total)
    // what kad-dht has dropped since is seen only by counting again
    const isOutdated = left() < wanted && performance.now() - this.#countedAt > RECOUNT_MS
    if (isOutdated || this.#countedAt === NEVER) await this.#recount()
    const own = this.#counts.get(provider) ?? 0
    const free = this.#bounds.ofAll - this.#total
    const lacking = Math.min(wanted, this.#bounds.ofPeer - own) - free
    if (lacking > 0) await this.#displace(lacking, own + free)
    return Math.max(0, Math.min(wanted, left()))
  }

  /**
   * Makes room where all is full: the peer with the most records loses some, so that no few can keep all others out.
   * @param own records of the peer that wants room: it gets no more than the other one keeps
   */
  async #displace(wanted: number, own: number): Promise<void> {
    const [most, count] = [...this.#counts].reduce((one, other) => (other[1] > one[1] ? other : one), ['', 0])
    const spare = Math.min(wanted, Math.floor((count - own) / 2))
    // From anywhere on, and round; it has a large part of all, so that few names are read before enough are found.
    const start = nameOf(randomBytes(32), '')
    const found: string[] = []
    for (const range of [
      { gt: start, lt: END },
      { gt: PREFIX, lt: start },
    ]) {
      if (found.length >= spare) break
      for await (const names of this.#names(range)) {
        found.push(...names.filter((name) => providerOf(name) === most))
        if (found.length >= spare) break
      }
    }
    const lost = found.slice(0, Math.max(0, spare))
    await this.#db.batch(lost.map((key) => ({ type: 'del', key })))
    this.#count(most, -lost.length)
  }

  async #recount(): Promise<void> {
    const counts = new Map<PeerId, number>()
    let total = 0
    for await (const names of this.#names()) {
      for (const name of names) {
        const provider = providerOf(name)
        if (provider === this.#self) continue
        counts.set(provider, (counts.get(provider) ?? 0) + 1)
        total++
      }
    }
    this.#counts = counts
    this.#total = total
    this.#countedAt = performance.now()
  }

  #count(provider: PeerId, added: number): void {
    if (provider === this.#self || this.#countedAt === NEVER) return
    this.#total += added
    const count = (this.#counts.get(provider) ?? 0) + added
    if (count > 0) this.#counts.set(provider, count)
    else this.#counts.delete(provider)
  }

  /** Names of records, {@link SCAN_KEYS} at a time. */
  async *#names(range: { gt: string; lt: string } = { gt: PREFIX, lt: END }): AsyncGenerator<readonly string[], void> {
    const iterator = this.#db.keys(range)
    try {
      for (let names = await iterator.nextv(SCAN_KEYS); names.length > 0; names = await iterator.nextv(SCAN_KEYS)) {
        yield names
      }
    } finally {
      await iterator.close()
    }
  }

  async #inTurn<T>(provider: PeerId, work: () => Promise<T>): Promise<T> {
    const turns = provider === this.#self ? 'own' : 'foreign'
    const done = this.#turns[turns].then(work)
    this.#turns[turns] = done.catch(() => {})
    return await done
  }
}

/** A place among PeerIds: that of an Ed25519 key that nobody has. */
function somePeer(): PeerId {
  return base58btc.baseEncode(Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20, ...randomBytes(32)))
}

function nameOf(key: Uint8Array, provider: PeerId): string {
  return `${PREFIX}${base32.baseEncode(multihashOf(key))}/${provider}`
}

function providerOf(name: string): PeerId {
  return name.slice(name.lastIndexOf('/') + 1)
}

/** Whether a record is to be written: there is none, or it is old, or of a clock that was wrong. */
function isDue(value: Uint8Array | undefined, now: number): boolean {
  const age = value === undefined ? Number.NaN : now - timeOf(value)
  return !(age >= 0 && age < RENEW_AFTER_MS)
}

/** When a record was written, in ms since the epoch; long ago where it is damaged. */
function timeOf(value: Uint8Array): number {
  try {
    return varint.decode(value)[0]
  } catch {
    return 0
  }
}
