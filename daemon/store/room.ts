import { Bitfield } from '../verify/bitfield.ts'
import { quarterBytes, quarterLength } from '../verify/quarter.ts'

/** Room is made for so many bytes at a time, where there is as much: a question for each quarter would cost time. */
const STEP_BYTES = 16 * quarterBytes

interface RoomOptions {
  /** Bytes of the blob. */
  readonly size: number
  /** Quarters that are on the disk already. */
  readonly there: Bitfield
  /** Bytes for which there is room, those that are on the disk among them. */
  readonly reserved: number
  /** Makes room for so many more bytes. @throws {StoreError} quota, no-space */
  readonly grow: (bytes: number) => Promise<void>
}

/** Room for a blob that comes quarter by quarter: it is made as they come, as how long a blob is may be a lie. */
export class Room {
  readonly #options: RoomOptions
  readonly #taken: Bitfield
  /** Bytes of quarters that have not come. */
  #missing: number
  /** Bytes for which there is room, and which have not come. */
  #spare: number
  #growing: Promise<void> = Promise.resolve()

  constructor(options: RoomOptions) {
    const { size, there, reserved } = options
    this.#options = options
    this.#taken = new Bitfield(there.length)
    this.#missing = size
    for (const quarter of there.indexes()) this.#take(quarter)
    this.#spare = Math.max(0, reserved - (size - this.#missing))
  }

  /** Whether the quarter of a position may be written. */
  has(position: number): boolean {
    return this.#taken.has(Math.floor(position / quarterBytes))
  }

  /** Makes room for the quarter of a position. @throws {StoreError} quota, no-space */
  async make(position: number): Promise<void> {
    const quarter = Math.floor(position / quarterBytes)
    this.#growing = this.#growing.catch(() => {}).then(() => this.#makeFor(quarter))
    await this.#growing
  }

  async #makeFor(quarter: number): Promise<void> {
    if (this.#taken.has(quarter)) return
    const { size, grow } = this.#options
    const bytes = quarterLength(quarter, size)
    const lacking = bytes - this.#spare
    if (lacking > 0) {
      const step = Math.max(lacking, Math.min(this.#missing - this.#spare, STEP_BYTES))
      this.#spare += await grow(step).then(
        () => step,
        async (error: unknown) => {
          if (step === lacking) throw error
          await grow(lacking)
          return lacking
        },
      )
    }
    this.#spare -= bytes
    this.#take(quarter)
  }

  #take(quarter: number): void {
    this.#taken.set(quarter)
    this.#missing -= quarterLength(quarter, this.#options.size)
  }
}
