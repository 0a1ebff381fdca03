import type { Multiaddr } from '@multiformats/multiaddr'
import type { Logger } from 'pino'
import { placeOf } from './discovery/addresses.ts'
import type { SelfMet } from './handshakes.ts'
import type { PeerId } from './peer-id.ts'
import { afterReads } from './turns.ts'

interface ClonesOptions {
  readonly self: PeerId
  /** The identity's file, which one of both has to give up. */
  readonly keyFile: string
  /** Told an address that leads back to this node. */
  readonly onOwn: (address: Multiaddr) => void
  readonly log: Logger
}

/** A connection of this node with itself has shown both its ends within this time, in ms. */
const PAIR_MS = 1_000

/** A clone that was not met for this long is gone, or has an identity of its own now, in ms. Seeds are dialled more often. */
const VALID_MS = 300_000

/**
 * A clone is one that was met this often at the same place, each time in another second. Once may be chance: a connection that broke
 * after one of its ends had said who it is.
 */
const SIGHTINGS = 2

/** Places where clones may be; the one that was met longest ago is forgotten first. */
const MAX_PLACES = 64

/** Ends that wait for their other one. Above this number further ones are left out: copies that dial all the time say it anyway. */
const MAX_UNMATCHED = 256

/** Where this node's key was met, and no other end of the connection here. */
interface Sighting {
  times: number
  /** The last time (performance.now()). */
  at: number
  isLogged: boolean
}

/**
 * Finds other nodes that have this one's key, because its data folder was copied. Both ends of a connection say that they are this
 * node. Where they really are, both ends of the same TCP connection are seen here: the port that one dials from is the other's
 * remote port. Otherwise it is another machine; unless unmatched ends of both kinds are seen, as where a gateway changes ports.
 */
export class Clones {
  readonly #options: ClonesOptions
  #unmatched: SelfMet[] = []
  readonly #sightings = new Map<string, Sighting>()
  #timer: NodeJS.Timeout | undefined
  #last: { readonly where: string; readonly at: number } | undefined

  constructor(options: ClonesOptions) {
    this.#options = options
  }

  /** What is wrong and what to do; undefined where no clone was met lately. */
  get problem(): string | undefined {
    if (this.#last === undefined || performance.now() - this.#last.at > VALID_MS) return undefined
    return this.#text(this.#last.where)
  }

  met(end: SelfMet): void {
    const { direction, localPort, remotePort } = end
    const isOther = (other: SelfMet) =>
      other.direction !== direction && other.localPort === remotePort && other.remotePort === localPort
    const other = localPort === undefined ? undefined : this.#unmatched.find(isOther)
    if (other === undefined) {
      if (this.#unmatched.length < MAX_UNMATCHED) this.#unmatched.push(end)
      this.#timer ??= this.#later()
      return
    }
    this.#unmatched = this.#unmatched.filter((one) => one !== other)
    this.#options.onOwn(direction === 'outbound' ? end.address : other.address)
  }

  stop(): void {
    clearTimeout(this.#timer)
  }

  #later(): NodeJS.Timeout {
    return setTimeout(() => void this.#judge(), PAIR_MS).unref()
  }

  async #judge(): Promise<void> {
    const due = [...this.#unmatched]
    // On a busy node the other end may not have been read.
    await afterReads()
    const ends = due.filter((end) => this.#unmatched.includes(end))
    // Those that were met meanwhile have their own time.
    this.#unmatched = this.#unmatched.filter((end) => !due.includes(end))
    this.#timer = this.#unmatched.length === 0 ? undefined : this.#later()
    if (new Set(ends.map(({ direction }) => direction)).size !== 1) return
    const places = ends.map(({ direction, address }) =>
      direction === 'outbound' ? placeOf(address) : placeOf(address).replace(/\/tcp\/\d+$/, ''),
    )
    for (const where of new Set(places)) this.#seen(where)
  }

  #seen(where: string): void {
    const now = performance.now()
    const before = this.#sightings.get(where)
    const isRecent = before !== undefined && now - before.at <= VALID_MS
    const sighting = isRecent ? before : { times: 0, at: now, isLogged: false }
    sighting.times++
    sighting.at = now
    this.#sightings.delete(where)
    this.#sightings.set(where, sighting)
    const [oldest] = this.#sightings.keys()
    if (this.#sightings.size > MAX_PLACES && oldest !== undefined) this.#sightings.delete(oldest)
    if (sighting.times < SIGHTINGS) return
    this.#last = { where, at: now }
    if (sighting.isLogged) return
    sighting.isLogged = true
    this.#options.log.error({ address: where, peerId: this.#options.self }, this.#text(where))
  }

  #text(where: string): string {
    return `the node at ${where} has the same identity as this one, so its data folder was copied: they can't meet, and others take them for one. Stop one of them, remove ${this.#options.keyFile} there, and start it again`
  }
}
