import type { Digest } from '../../../proxy/oci/digest.ts'
import { chunkBytes } from '../../verify/chunk.ts'
import type { HaveListener, PeerId, SharedContent } from '../ports.ts'
import { UploadGauge } from '../session/upload-gauge.ts'
import { MAX_HUBS } from './constants.ts'
import { Hub, type Watcher } from './hub.ts'

interface AnnouncementsOptions {
  readonly content: Pick<SharedContent, 'watch'>
  readonly watch: (peer: PeerId, digest: Digest, listener: HaveListener, signal: AbortSignal) => void
}

/** All blobs that peers watch here, and how much this node sends, which decides how much it tells. */
export class Announcements {
  readonly #options: AnnouncementsOptions
  readonly #hubs = new Map<Digest, Hub>()
  readonly #gauge = new UploadGauge()
  #sending = 0
  #sent = 0

  constructor(options: AnnouncementsOptions) {
    this.#options = options
  }

  /** A peer wants to be told of a blob. @throws {Error} where too many blobs are watched */
  add(digest: Digest, watcher: Watcher): void {
    const hub = this.#hubs.get(digest) ?? this.#open(digest)
    hub.add(watcher)
  }

  remove(digest: Digest, peer: PeerId): void {
    this.#hubs.get(digest)?.remove(peer)
  }

  /** An upload begins. @returns to be told of the bytes that were sent, one after the other, and of the end */
  upload(peer: PeerId, digest: Digest, start: number, end: number): { sent(bytes: number): void; ended(): void } {
    const first = Math.floor(start / chunkBytes)
    const last = Math.floor(end / chunkBytes)
    for (let chunk = first; chunk <= last; chunk++) this.#hubs.get(digest)?.asked(peer, chunk)
    this.#sending++
    let position = start
    return {
      sent: (bytes) => {
        this.#sent += bytes
        const before = Math.floor(position / chunkBytes)
        position += bytes
        const after = position > end ? last + 1 : Math.floor(position / chunkBytes)
        for (let chunk = before; chunk < after; chunk++) this.#hubs.get(digest)?.served(peer, chunk)
      },
      ended: () => {
        this.#sending--
        for (const hub of this.#hubs.values()) hub.poke(0)
      },
    }
  }

  stop(): void {
    for (const hub of [...this.#hubs.values()]) hub.end()
  }

  #open(digest: Digest): Hub {
    if (this.#hubs.size >= MAX_HUBS) throw new Error(`more than ${MAX_HUBS} blobs are watched`)
    const hub: Hub = new Hub({
      digest,
      content: this.#options.content,
      room: () => this.#gauge.room(this.#sending, this.#sent, performance.now()),
      watchBack: (peer, listener, signal) => this.#options.watch(peer, digest, listener, signal),
      onEmpty: () => {
        if (this.#hubs.get(digest) === hub) this.#hubs.delete(digest)
      },
    })
    this.#hubs.set(digest, hub)
    hub.start().catch(() => hub.end())
    return hub
  }
}
