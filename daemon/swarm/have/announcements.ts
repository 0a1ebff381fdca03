import type { Digest } from '../../../proxy/oci/digest.ts'
import { quarterBytes as chunkBytes } from '../../verify/quarter.ts'
import type { HaveListener, PeerId, SharedContent } from '../ports.ts'
import { Offers } from '../session/offers.ts'
import { Uploads } from '../session/uploads.ts'
import { DELIVERY_LIMIT_MS, MAX_HUBS } from './constants.ts'
import { Hub, type Watcher } from './hub.ts'

interface AnnouncementsOptions {
  readonly content: Pick<SharedContent, 'watch'>
  /** Requests for chunks that this node has under way to its peers. */
  readonly requests: () => number
  readonly watchBack: (peer: PeerId, digest: Digest, listener: HaveListener, signal: AbortSignal) => void
}

/** All blobs that peers watch here, and how much this node sends, which decides how much it tells. */
export class Announcements {
  readonly #options: AnnouncementsOptions
  readonly #hubs = new Map<Digest, Hub>()
  readonly #uploads = new Uploads()
  readonly #offers = new Offers()

  constructor(options: AnnouncementsOptions) {
    this.#options = options
  }

  /** A peer wants to be told of a blob. @returns false where too many blobs are watched already */
  add(digest: Digest, watcher: Watcher): boolean {
    const known = this.#hubs.get(digest)
    if (known === undefined && this.#hubs.size >= MAX_HUBS) return false
    const hub = known ?? this.#open(digest)
    hub.add(watcher)
    return true
  }

  remove(digest: Digest, watcher: Omit<Watcher, 'isBack'>): void {
    this.#hubs.get(digest)?.remove(watcher)
  }

  /** An upload begins. @returns to be told of its end, and whether all was written */
  upload(peer: PeerId, digest: Digest, start: number, end: number): (isWritten: boolean) => void {
    const hub = this.#hubs.get(digest)
    const first = Math.floor(start / chunkBytes)
    const last = Math.floor(end / chunkBytes)
    const now = performance.now()
    if (hub !== undefined) for (let chunk = first; chunk <= last; chunk++) this.#offers.asked(peer, digest, chunk, now)
    const over = this.#uploads.begin(peer, digest, first, last)
    const forget = () => {
      over()
      this.#pokeAll()
    }
    return (isWritten) => {
      // Who is not heard does not tell: waiting for that, a fetch that 200 peers watch sent 8 chunks a second instead of 100.
      if (isWritten && hub?.hears(peer) === true) setTimeout(forget, DELIVERY_LIMIT_MS).unref()
      else forget()
    }
  }

  /** A peer tells how many requests for chunks it has under way. */
  busy(peer: PeerId, requests: number): void {
    this.#offers.told(peer, requests)
  }

  /** A peer's connection is gone. */
  left(peer: PeerId): void {
    this.#offers.left(peer)
  }

  stop(): void {
    for (const hub of [...this.#hubs.values()]) hub.end()
  }

  #open(digest: Digest): Hub {
    const hub: Hub = new Hub({
      digest,
      content: this.#options.content,
      offers: this.#offers,
      requests: this.#options.requests,
      room: () => this.#uploads.room(performance.now()),
      sending: () => this.#uploads.sendingOf(digest),
      delivered: (peer, chunk) => {
        if (!this.#uploads.delivered(peer, digest, chunk, chunkBytes, performance.now())) return false
        this.#pokeAll(hub)
        return true
      },
      watchBack: (peer, listener, signal) => this.#options.watchBack(peer, digest, listener, signal),
      onEmpty: () => {
        if (this.#hubs.get(digest) === hub) this.#hubs.delete(digest)
      },
    })
    this.#hubs.set(digest, hub)
    hub.start().catch(() => hub.end())
    return hub
  }

  /** There may be room for more. */
  #pokeAll(but?: Hub): void {
    for (const hub of this.#hubs.values()) if (hub !== but) hub.poke(0)
  }
}
