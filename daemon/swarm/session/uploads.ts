import type { PeerId } from '../peer-id.ts'
import { MAX_UPLOADS_AHEAD, MAX_UPLOADS_OF_PEER, UPLOAD_AHEAD_MS, UPLOAD_RATE_MS } from './constants.ts'
import { UploadGauge } from './upload-gauge.ts'

/** Chunks `first` to `last` of one blob, being sent to one peer. */
interface Upload {
  readonly first: number
  readonly last: number
}

/**
 * What a node is sending, of all blobs. What was written may wait in the system's buffers for long, so an upload is over when
 * its peer tells that it has the last chunk, and not before.
 */
export class Uploads {
  readonly #open = new Map<string, Set<Upload>>()
  readonly #gauge = new UploadGauge()
  #sending = 0
  /** The same of each blob. */
  readonly #ofBlobs = new Map<string, number>()
  #delivered = 0
  /** Chunks a ms that were delivered lately, and when the last one was. */
  #rate = 0
  #deliveredAt = 0

  /** An upload begins. @returns to be called when it is over in any case: it failed, or its peer was given time enough to tell */
  begin(peer: PeerId, blob: string, first: number, last: number): () => void {
    const key = keyOf(peer, blob)
    const upload = { first, last }
    // Who asks for more than it can have under way has what it asked for first, and does not tell.
    const [oldest, ...others] = this.#open.get(key) ?? []
    if (oldest !== undefined && others.length + 1 >= MAX_UPLOADS_OF_PEER) this.#end(key, blob, oldest)
    const uploads = this.#open.get(key) ?? new Set()
    this.#open.set(key, uploads.add(upload))
    this.#sending++
    this.#ofBlobs.set(blob, this.sendingOf(blob) + 1)
    return () => this.#end(key, blob, upload)
  }

  /**
   * A peer has a chunk of `bytes`.
   * @returns whether it was being sent from here
   */
  delivered(peer: PeerId, blob: string, chunk: number, bytes: number, now: number): boolean {
    const key = keyOf(peer, blob)
    for (const upload of this.#open.get(key) ?? []) {
      if (chunk < upload.first || chunk > upload.last) continue
      this.#delivered += bytes
      this.#rate = this.#rateAt(now) + 1 / UPLOAD_RATE_MS
      this.#deliveredAt = now
      if (chunk === upload.last) this.#end(key, blob, upload)
      return true
    }
    return false
  }

  /** Uploads of one blob. */
  sendingOf(blob: string): number {
    return this.#ofBlobs.get(blob) ?? 0
  }

  /** @returns uploads that may begin in addition, one after the other; less than 0 where there are too many */
  room(now: number): number {
    const ahead = Math.min(Math.round(UPLOAD_AHEAD_MS * this.#rateAt(now)), MAX_UPLOADS_AHEAD)
    return this.#gauge.room(this.#sending, this.#delivered, now) + ahead
  }

  #rateAt(now: number): number {
    return this.#rate * Math.exp((this.#deliveredAt - now) / UPLOAD_RATE_MS)
  }

  #end(key: string, blob: string, upload: Upload): void {
    const uploads = this.#open.get(key)
    if (uploads?.delete(upload) !== true) return
    if (uploads.size === 0) this.#open.delete(key)
    this.#sending--
    const left = this.sendingOf(blob) - 1
    if (left > 0) this.#ofBlobs.set(blob, left)
    else this.#ofBlobs.delete(blob)
  }
}

function keyOf(peer: PeerId, blob: string): string {
  return `${peer} ${blob}`
}
