import { OciError } from '../../proxy/oci/errors.ts'

/** A manifest of more bytes than this is long: nearly all have a few KiB, and what the spec asks registries to take is 4 MiB. */
export const longManifestBytes = 1024 * 1024

/** Long manifests that are in memory at the same time: 128 MiB, if all of them have as many bytes as they may. */
const maxAtOnce = 8

/** How long a client waits until there is room, in ms; containerd gives up after 30 s without headers. */
const patience = 20_000

/** Bounds how many long manifests are in memory: each is read whole, and kept until its client has got it. */
export class LongManifests {
  readonly #patience: number
  readonly #waiting = new Set<() => void>()
  #inside = 0

  /** @param wait ms, for tests */
  constructor(wait = patience) {
    this.#patience = wait
  }

  /**
   * Waits for room.
   * @returns gives the room back; to be called once
   * @throws {OciError} UNAVAILABLE where there is none for long, or the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#inside >= maxAtOnce) await this.#wait(signal)
    else this.#inside++
    return () => this.#leave()
  }

  /** Room is handed over, so that nobody who comes later takes it first. */
  #leave(): void {
    const [next] = this.#waiting
    if (next === undefined) this.#inside--
    else next()
  }

  async #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const take = (): void => {
      this.#waiting.delete(take)
      resolve()
    }
    const giveUp = (): void => {
      // At once: room that is handed to nobody would be lost.
      this.#waiting.delete(take)
      const message = `${maxAtOnce} long manifests are being given to clients; try again when they have got them`
      reject(signal.aborted ? signal.reason : new OciError('UNAVAILABLE', message))
    }
    this.#waiting.add(take)
    const timer = setTimeout(giveUp, this.#patience)
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      await promise
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', giveUp)
    }
  }
}
