import type { MultiaddrConnection } from '@libp2p/interface'
import { Arrivals } from './limits/arrivals.ts'
import { originOf } from './limits/network.ts'
import { type Place, Places } from './limits/places.ts'
import type { PeerId } from './peer-id.ts'

/** Handshakes under way at the same time. */
export const MAX_HANDSHAKES = 256

/** A handshake that takes longer, in ms, gives way to another one. A busy node takes a second for it. */
const HANDSHAKE_PATIENCE_MS = 3_000

/**
 * Connections that peers have opened, all together, for a `swarm.maxConnections`. routing/neighbourhood.ts keeps to the setting itself, and
 * says so to those that it leaves; in a moment in which many come, more stand.
 */
export function inboundPlaces(maxConnections: number): number {
  return 2 * maxConnections + 100
}

/** Connections from one network at once: hundreds of nodes behind one NAT, or in containers on one host, start together. */
const ARRIVALS = 1_024

/** And each second. A handshake costs some 5 ms. */
const ARRIVALS_PER_SECOND = 32

/** A connection of a peer that is banned or not allowed counts as this many. */
const UNWELCOME = 8

interface InboundOptions {
  /** For tests; see {@link MAX_HANDSHAKES}. */
  readonly handshakes?: number
  /** See {@link inboundPlaces}. */
  readonly connections: number
}

/**
 * Places for connections that others open: for handshakes, and for those that stand. libp2p bounds all of them together, so that one
 * address could take all places.
 */
export class Inbound {
  readonly #arrivals = new Arrivals(ARRIVALS, ARRIVALS_PER_SECOND)
  readonly #handshakes: Places
  readonly #standing: Places
  readonly #placeOf = new WeakMap<object, Place>()

  constructor({ handshakes = MAX_HANDSHAKES, connections }: InboundOptions) {
    this.#handshakes = new Places({ limit: handshakes, patienceMs: HANDSHAKE_PATIENCE_MS, gives: 'first' })
    this.#standing = new Places({ limit: connections, gives: 'last' })
  }

  /** A connection has come. @returns whether its handshake may begin */
  come(connection: MultiaddrConnection): boolean {
    const address = addressOf(connection)
    return this.#arrivals.come(address) && this.#take(this.#handshakes, originOf(address), connection)
  }

  /** It is from a peer that may not connect. */
  unwelcome(connection: MultiaddrConnection): void {
    this.#arrivals.charge(addressOf(connection), UNWELCOME)
  }

  /** Its handshake has ended well. @returns whether the connection may stand */
  stay(connection: MultiaddrConnection, peer: PeerId): boolean {
    this.#placeOf.get(connection)?.leave()
    return this.#take(this.#standing, [...originOf(addressOf(connection)), peer], connection)
  }

  #take(places: Places, owners: readonly string[], connection: MultiaddrConnection): boolean {
    const place = places.take(owners, () => connection.abort(new Error('others need its place')))
    if (place === undefined) return false
    this.#placeOf.set(connection, place)
    connection.addEventListener('close', () => place.leave(), { once: true })
    // It may have ended before anybody listened.
    if (connection.status !== 'open') place.leave()
    return true
  }
}

function addressOf({ remoteAddr }: MultiaddrConnection): string {
  return String(remoteAddr.getComponents()[0]?.value)
}
