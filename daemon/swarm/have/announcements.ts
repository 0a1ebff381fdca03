import type { Digest } from '../../../proxy/oci/digest.ts'
import { chunkBytes } from '../../verify/chunk.ts'
import type { HaveListener, PeerId, SharedContent } from '../ports.ts'
import { UploadGauge } from '../session/upload-gauge.ts'
import { DELIVERY_LIMIT_MS, MAX_HUBS } from './constants.ts'
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
  /** Chunks on their way to peers. */
  readonly #sending = new Set<string>()
  #delivered = 0

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

  /** An upload begins. @returns to be told of its end, and whether all was written */
  upload(peer: PeerId, digest: Digest, start: number, end: number): (isWritten: boolean) => void {
    const hub = this.#hubs.get(digest)
    const chunks: number[] = []
    for (let chunk = Math.floor(start / chunkBytes); chunk * chunkBytes <= end; chunk++) chunks.push(chunk)
    for (const chunk of chunks) {
      hub?.asked(peer, chunk)
      this.#sending.add(keyOf(peer, digest, chunk))
    }
    const forget = () => {
      for (const chunk of chunks) this.#sending.delete(keyOf(peer, digest, chunk))
      for (const one of this.#hubs.values()) one.poke(0)
    }
    return (isWritten) => {
      // What was written may wait in the system's buffers for long; the peer tells when it has it.
      if (isWritten && hub !== undefined) setTimeout(forget, DELIVERY_LIMIT_MS).unref()
      else forget()
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
      room: () => this.#gauge.room(this.#sending.size, this.#delivered, performance.now()),
      delivered: (peer, chunk) => {
        if (!this.#sending.delete(keyOf(peer, digest, chunk))) return false
        this.#delivered += chunkBytes
        for (const other of this.#hubs.values()) if (other !== hub) other.poke(0)
        return true
      },
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

function keyOf(peer: PeerId, digest: Digest, chunk: number): string {
  return `${peer} ${digest} ${chunk}`
}
