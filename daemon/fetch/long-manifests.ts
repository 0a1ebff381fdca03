import { Gate } from '../../proxy/gate.ts'
import { OciError } from '../../proxy/oci/errors.ts'

/** Long manifests that are in memory at the same time: 128 MiB, if all of them have as many bytes as they may. */
const maxAtOnce = 8

/** How long a client waits until there is room, in ms; containerd gives up after 30 s without headers. */
const patience = 20_000

/** Bounds how many long manifests are in memory: each is read whole, and kept until its client has got it. */
export class LongManifests {
  readonly #gate = new Gate(maxAtOnce)
  readonly #patience: number

  /** @param wait ms, for tests */
  constructor(wait = patience) {
    this.#patience = wait
  }

  /**
   * Waits for room.
   * @returns gives the room back
   * @throws {OciError} UNAVAILABLE where there is none for long, or the signal's reason
   */
  async enter(signal: AbortSignal): Promise<() => void> {
    const limit = AbortSignal.timeout(this.#patience)
    try {
      return await this.#gate.enter(AbortSignal.any([signal, limit]))
    } catch (error) {
      if (signal.aborted || !limit.aborted) throw error
      const message = `${maxAtOnce} long manifests are being given to clients; try again when they have got them`
      throw new OciError('UNAVAILABLE', message)
    }
  }
}
