import type { SharedBlob } from '../swarm/ports.ts'

/** Close a file this long after its last use, in ms: the store evicts no blob that is open. Sooner, each question opens it anew. */
const IDLE_MS = 2_000

/** Above this number of files without a reader, close the one that was used longest ago. A node sends a few chunks at a time. */
const MAX_IDLE = 32

/** One opening of a file, until it is closed. */
interface Opening {
  readonly blob: Promise<SharedBlob | undefined>
  readers: number
  isOver: boolean
  isClosed: boolean
  timer: NodeJS.Timeout | undefined
  readonly closed: PromiseWithResolvers<void>
}

/** Those without a reader, of all blobs, the one used longest ago first, and what closes them. */
const idle = new Map<Opening, () => void>()

/** The blob is not held, or peers can't have it, any more. */
export class NotShared extends Error {
  constructor() {
    super('it is not shared any more')
    this.name = 'NotShared'
  }
}

/** A blob as peers have it from here: opened for the first reader, and closed when nobody has read it for a moment. */
export class OpenBlob {
  readonly #open: () => Promise<SharedBlob | undefined>
  #opening: Opening | undefined

  constructor(open: () => Promise<SharedBlob | undefined>) {
    this.#open = open
  }

  /** @param signal of `read` @throws {NotShared} where there is no such blob; what opening it, or `read`, throws */
  async use<T>(read: (blob: SharedBlob) => Promise<T>, signal: AbortSignal): Promise<T> {
    const opening = this.#opening ?? this.#begin()
    opening.readers++
    idle.delete(opening)
    clearTimeout(opening.timer)
    let isOpen = false
    try {
      const blob = await opening.blob
      if (blob === undefined) throw new NotShared()
      isOpen = true
      return await read(blob)
    } catch (error) {
      // The next reader opens it anew, unless this one only gave it up.
      if (!isOpen || !signal.aborted) this.#end(opening)
      throw error
    } finally {
      opening.readers--
      this.#rest(opening)
    }
  }

  /** Lets go of the file; whoever reads it now fails. Resolves when it is closed. */
  async close(): Promise<void> {
    const opening = this.#opening
    if (opening === undefined) return
    this.#shut(opening)
    await opening.closed.promise
  }

  #begin(): Opening {
    const opening: Opening = {
      blob: this.#open(),
      readers: 0,
      isOver: false,
      isClosed: false,
      timer: undefined,
      closed: Promise.withResolvers(),
    }
    this.#opening = opening
    return opening
  }

  /** Nobody reads from it any more who does not yet. */
  #end(opening: Opening): void {
    opening.isOver = true
    if (this.#opening === opening) this.#opening = undefined
  }

  #rest(opening: Opening): void {
    if (opening.readers > 0 || opening.isClosed) return
    if (opening.isOver) {
      this.#shut(opening)
      return
    }
    opening.timer = setTimeout(() => this.#shut(opening), IDLE_MS).unref()
    idle.set(opening, () => this.#shut(opening))
    const [oldest] = idle.values()
    if (idle.size > MAX_IDLE) oldest?.()
  }

  #shut(opening: Opening): void {
    this.#end(opening)
    idle.delete(opening)
    clearTimeout(opening.timer)
    if (opening.isClosed) return
    opening.isClosed = true
    opening.blob
      .then((blob) => blob?.close())
      .catch(() => {})
      .finally(() => opening.closed.resolve())
  }
}
