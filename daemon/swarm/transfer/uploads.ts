import { MIN_UPLOAD_RATE, PEER_SHARE, UPLOAD_GRACE_MS } from './constants.ts'

/** One blob body that is being sent. */
interface Upload {
  readonly fingerprint: string
  readonly cut: () => void
  /** When the piece that is being written should be taken at the latest; never while none is. */
  due: number
}

/** What a request does with its place among the uploads. */
export interface UploadPlace {
  /** A piece is given to the peer to take. */
  writing(bytes: number): void
  /** It has taken it. */
  written(): void
  /** Gives the place back. */
  end(): void
}

/**
 * The blob bodies being sent: how many at the same time, how many to one peer, and that none is sent for ever. A slow peer
 * may be slow for as long as nobody else waits for its place.
 */
export class Uploads {
  readonly #limit: number
  readonly #now: () => number
  readonly #running = new Set<Upload>()

  /** @param limit bodies at the same time */
  constructor(limit: number, now: () => number = () => performance.now()) {
    this.#limit = limit
    this.#now = now
  }

  /**
   * A place for a peer; undefined where it has to come again. Where all are taken, the peer that takes least for what it was
   * given loses its one.
   * @param cut ends the upload
   */
  begin(fingerprint: string, cut: () => void): UploadPlace | undefined {
    const own = [...this.#running].filter((upload) => upload.fingerprint === fingerprint).length
    // No peer may take all uploads.
    if (own >= Math.max(1, Math.ceil(this.#limit / PEER_SHARE))) return undefined
    if (this.#running.size >= this.#limit) {
      this.#cutSlowest()
      return undefined
    }
    const upload: Upload = { fingerprint, cut, due: Number.POSITIVE_INFINITY }
    this.#running.add(upload)
    return {
      writing: (bytes) => {
        upload.due = this.#now() + UPLOAD_GRACE_MS + (bytes / MIN_UPLOAD_RATE) * 1000
      },
      written: () => {
        upload.due = Number.POSITIVE_INFINITY
      },
      end: () => this.#running.delete(upload),
    }
  }

  #cutSlowest(): void {
    const [first, ...others] = this.#running
    if (first === undefined) return
    const slowest = others.reduce((one, other) => (other.due < one.due ? other : one), first)
    if (slowest.due < this.#now()) slowest.cut()
  }
}
