import type { Multiaddr } from '@multiformats/multiaddr'
import { placeOf } from '../discovery/addresses.ts'
import { Allowances } from './allowance.ts'

/** Dials of one host that may fail, or be under way, at the same time. */
export const HOST_DIALS = 16

/** And one more in this many ms. */
const HOST_DIAL_MS = 4_000

/** A place where a dial has failed is not dialled for this long, in ms; it doubles with each failure. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 15_000

/** Hosts and places that are remembered, of each kind. */
const MAX_REMEMBERED = 4_096

/**
 * Bounds what this node dials because others have named it: anybody can name any address. A place that failed is left alone for a
 * time, whoever names it, and so is a host at which much has failed. Places where a peer was met, and those of seeds, are dialled as
 * ever.
 */
export class Dials {
  readonly #now: () => number
  readonly #hosts: Allowances
  /** By place. */
  readonly #failed = new Map<string, { count: number; until: number }>()
  readonly #trusted = new Set<string>()

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
    this.#hosts = new Allowances({
      most: HOST_DIALS,
      perSecond: 1000 / HOST_DIAL_MS,
      remembered: MAX_REMEMBERED,
      now,
    })
  }

  /** The user has named a place. */
  trust(address: Multiaddr): void {
    remember(this.#trusted, placeOf(address))
  }

  /** The network has changed: what failed before may succeed now. */
  forgive(): void {
    this.#failed.clear()
    this.#hosts.clear()
  }

  /** Dials an address. Rejects where it should be left alone, with what `dial` rejects with, and where that fails. */
  async dial<T>(address: Multiaddr, dial: () => Promise<T>): Promise<T> {
    const place = placeOf(address)
    const host = this.#hosts.of(String(address.getComponents()[0]?.value))
    const isTrusted = this.#trusted.has(place)
    if (!isTrusted) {
      if (this.#now() < (this.#failed.get(place)?.until ?? 0)) throw new Error(`${place} was dialled in vain just now`)
      if (host.left < 1) throw new Error(`too much was dialled in vain at the host of ${place}`)
      host.spend(1)
    }
    try {
      const connection = await dial()
      if (!isTrusted) host.earn(1)
      this.#failed.delete(place)
      remember(this.#trusted, place)
      return connection
    } catch (error) {
      this.#fail(place)
      throw error
    }
  }

  #fail(place: string): void {
    const count = (this.#failed.get(place)?.count ?? 0) + 1
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 1))
    this.#failed.delete(place)
    this.#failed.set(place, { count, until: this.#now() + pause })
    const [oldest] = this.#failed.keys()
    if (this.#failed.size > MAX_REMEMBERED && oldest !== undefined) this.#failed.delete(oldest)
  }
}

function remember(all: Set<string>, one: string): void {
  all.delete(one)
  all.add(one)
  const [oldest] = all
  if (all.size > MAX_REMEMBERED && oldest !== undefined) all.delete(oldest)
}
