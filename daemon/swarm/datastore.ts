import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { LevelDatastore } from 'datastore-level'

type Key = Parameters<LevelDatastore['get']>[0]
type AbortOptions = Parameters<LevelDatastore['get']>[1]

interface Pair {
  readonly key: Key
  readonly value: Uint8Array
}

/** Where libp2p keeps what it knows of peers. */
const PEER_PREFIX = '/peers/'

/** Where kad-dht keeps provider records, which any peer may add to. */
const PROVIDER_PREFIX = '/dht/provider/'

/** Peers that are remembered; the one that was not heard of for the longest time goes first. */
const MAX_PEERS = 10_000

/** How often what is known of peers is written to disk; a crash loses no more than that of addresses. */
const FLUSH_MS = 60_000

/**
 * Provider records in level, peers in memory. libp2p writes a peer's entry at each stream and each time an answer of the DHT
 * names the peer, which on disk is most of the CPU time of a lookup. Entries are read at open, and written now and then and
 * at close.
 */
export class SwarmDatastore extends LevelDatastore {
  readonly #peers = new Map<string, Pair>()
  readonly #unwritten = new Set<string>()
  /** The last write of peers did. */
  #hasFailed = false
  readonly #folder: string
  /** Where provider records go, which bounds them; they are written as they come before it is set. */
  records: { put(name: string, value: Uint8Array): Promise<void> } | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(folder: string) {
    super(folder)
    this.#folder = folder
  }

  /** @throws {Error} that names the folder, where it can't be opened or another process has it open */
  override async open(): Promise<void> {
    try {
      await mkdir(this.#folder, { recursive: true })
      await super.open()
      for await (const pair of super._query({ values: true, prefix: PEER_PREFIX })) {
        this.#peers.set(pair.key.toString(), pair)
      }
    } catch (cause) {
      throw new Error(`the DHT records in ${this.#folder} can't be opened: ${(cause as Error).message}`, { cause })
    }
    this.#timer = setInterval(() => void this.#flush().catch(() => {}), FLUSH_MS)
  }

  override async close(): Promise<void> {
    clearInterval(this.#timer)
    try {
      await this.#flush()
    } finally {
      await super.close()
    }
  }

  override async get(key: Key, options?: AbortOptions): Promise<Uint8Array> {
    const name = key.toString()
    if (!name.startsWith(PEER_PREFIX)) return await super.get(key, options)
    const pair = this.#peers.get(name)
    // the name is what libp2p goes by
    if (pair === undefined) throw Object.assign(new Error('not found'), { name: 'NotFoundError' })
    return pair.value
  }

  override async has(key: Key, options?: AbortOptions): Promise<boolean> {
    const name = key.toString()
    return name.startsWith(PEER_PREFIX) ? this.#peers.has(name) : await super.has(key, options)
  }

  override async put(key: Key, value: Uint8Array, options?: AbortOptions): Promise<Key> {
    const name = key.toString()
    if (this.records !== undefined && name.startsWith(PROVIDER_PREFIX)) {
      await this.records.put(name, value)
      return key
    }
    if (!name.startsWith(PEER_PREFIX)) return await super.put(key, value, options)
    this.#peers.delete(name)
    this.#peers.set(name, { key, value })
    this.#unwritten.add(name)
    const [oldest] = this.#peers.keys()
    if (this.#peers.size > MAX_PEERS && oldest !== undefined) this.#forget(oldest)
    return key
  }

  override async delete(key: Key, options?: AbortOptions): Promise<void> {
    const name = key.toString()
    if (!name.startsWith(PEER_PREFIX)) return await super.delete(key, options)
    this.#forget(name)
  }

  override _query(options: { values: boolean; prefix?: string }): ReturnType<LevelDatastore['_query']> {
    return options.prefix === PEER_PREFIX ? this.#allPeers() : super._query(options)
  }

  async *#allPeers(): AsyncGenerator<Pair, void> {
    yield* [...this.#peers.values()].reverse()
  }

  #forget(name: string): void {
    this.#peers.delete(name)
    this.#unwritten.add(name)
  }

  /**
   * Somebody may have removed its files under the running node, and after a write that failed level refuses all others. What is lost
   * peers announce again.
   */
  async #reopenIfBroken(): Promise<void> {
    const isLost = await stat(join(this.#folder, 'CURRENT')).then(
      () => false,
      (error: unknown) => (error as NodeJS.ErrnoException).code === 'ENOENT',
    )
    if (!isLost && !this.#hasFailed) return
    await super.close()
    await mkdir(this.#folder, { recursive: true })
    await super.open()
    this.#hasFailed = false
    for (const name of this.#peers.keys()) this.#unwritten.add(name)
  }

  async #flush(): Promise<void> {
    await this.#reopenIfBroken()
    const changed = [...this.#unwritten].map((key) => ({ key, value: this.#peers.get(key)?.value }))
    this.#unwritten.clear()
    try {
      await this.db.batch(
        changed.map(({ key, value }) => (value === undefined ? { type: 'del', key } : { type: 'put', key, value })),
      )
    } catch (error) {
      for (const { key } of changed) this.#unwritten.add(key)
      this.#hasFailed = true
      throw error
    }
  }
}
