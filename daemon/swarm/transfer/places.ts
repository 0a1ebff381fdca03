import { lookup } from 'node:dns/promises'
import type { SecureContext, TLSSocket } from 'node:tls'
import { parseAddress } from '../../../config/scalars.ts'
import type { KnownPeer } from '../known-peers.ts'
import { Allowances } from '../limits/allowance.ts'
import type { PeerId } from '../peer-id.ts'
import { scopeOf } from '../scope.ts'
import type { TransferCertificate } from './certificate.ts'
import { connectPinned, createClientContext } from './pool.ts'

/** Where a transfer server may be. */
export interface Place {
  readonly host: string
  readonly port: number
}

/** Reads `host:port`; undefined where text is none. */
export function parsePlace(text: string): Place | undefined {
  const address = parseAddress(text)
  return address === undefined || address.port === 0 ? undefined : address
}

/** Addresses that are tried for one peer at a time. Names may have several each. */
const MAX_TRIED = 8

/**
 * Searches for one peer in a window of time: for its hello, and where it can't be reached, as often as transfer/reach.ts looks
 * again. Above this number the peer is left where it was found last.
 */
const MAX_FINDS = 8
const WINDOW_MS = 60_000

/** Searches for all peers at the same time. Above this number a peer counts as being where its connection comes from. */
const MAX_FINDS_AT_ONCE = 64

/**
 * Connections to one host on the word of peers, all together, that may fail or be under way at the same time. Many peers may name the
 * same host, one that has nothing to do with them; so may honest ones behind the same router.
 */
const HOST_TRIES = 32

/** And one more in this many ms. */
const HOST_TRY_MS = 2_000

/** Hosts whose connections are counted; the one that was named longest ago is forgotten first. */
const MAX_HOSTS = 4_096

/** Peers whose searches are counted; the one that was searched for longest ago is forgotten first. */
const MAX_COUNTED = 4_096

interface Running {
  /** What was searched for. */
  readonly what: string
  /** Settles with the place that showed the peer's certificate; undefined where none did. */
  readonly found: Promise<Place | undefined>
}

/**
 * Finds out by which address a peer's transfer server is reached. A peer can name any host, so it is bounded what this node
 * connects to on its word: how often, how many, and nothing that the peer itself could not reach.
 */
export class Places {
  readonly #context: SecureContext
  readonly #connectMs: number
  readonly #running = new Map<PeerId, Running>()
  readonly #hosts = new Allowances({ most: HOST_TRIES, perSecond: 1000 / HOST_TRY_MS, remembered: MAX_HOSTS })
  /** By peer: the searches since the beginning of its window (performance.now()). */
  readonly #counts = new Map<PeerId, { readonly since: number; finds: number }>()

  /** @param connectMs bounds each search, names included */
  constructor(certificate: TransferCertificate, connectMs: number) {
    this.#context = createClientContext(certificate)
    this.#connectMs = connectMs
  }

  /**
   * Tries all places at the same time: where the peer's connection comes from, and what the peer announces. Behind the same
   * router the first one answers, from outside often only the others. Gives the first that shows the peer's certificate, so that
   * a peer can't send traffic to somebody else; where none does, the one that its connection comes from. Never throws.
   */
  async find(peer: KnownPeer, signal: AbortSignal): Promise<Place> {
    const { source = peer, announced = [] } = peer
    if (announced.length === 0) return source
    const what = JSON.stringify([peer.fingerprint, announced])
    for (let running = this.#running.get(peer.peerId); running; running = this.#running.get(peer.peerId)) {
      const place = await orAborted(running.found, signal)
      if (signal.aborted) return source
      // Both may have dialled at the same time: each connection has its hello.
      if (place !== undefined && running.what === what) return place
    }
    if (signal.aborted || this.#running.size >= MAX_FINDS_AT_ONCE || !this.#mayFind(peer.peerId)) return peer
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(this.#connectMs)])
    const found = this.#search(peer, source, announced, deadline).finally(() => this.#running.delete(peer.peerId))
    this.#running.set(peer.peerId, { what, found })
    return (await found) ?? source
  }

  /** Counts a search. */
  #mayFind(peer: PeerId): boolean {
    const now = performance.now()
    const before = this.#counts.get(peer)
    const count = before === undefined || now - before.since > WINDOW_MS ? { since: now, finds: 0 } : before
    if (count.finds >= MAX_FINDS) return false
    count.finds++
    this.#counts.delete(peer)
    this.#counts.set(peer, count)
    const [oldest] = this.#counts.keys()
    if (this.#counts.size > MAX_COUNTED && oldest !== undefined) this.#counts.delete(oldest)
    return true
  }

  /** A host at which much has failed is left alone for a time, whoever names it. One that shows the certificate costs nothing. */
  async #tryHost(place: Place, attempt: (place: Place) => Promise<Place>): Promise<Place> {
    const host = this.#hosts.of(place.host)
    if (host.left < 1) throw new Error(`too much was tried in vain at ${place.host}`)
    host.spend(1)
    const found = await attempt(place)
    host.earn(1)
    return found
  }

  async #search(
    peer: KnownPeer,
    source: Place,
    announced: readonly Place[],
    signal: AbortSignal,
  ): Promise<Place | undefined> {
    const sockets: TLSSocket[] = []
    let isOver = false
    const attempt = (place: Place): Promise<Place> => {
      const { promise, resolve, reject } = Promise.withResolvers<Place>()
      // A name may be looked up long after another place has answered.
      if (isOver || signal.aborted) reject(new Error('the search is over'))
      else {
        const onEnd = (error: Error | undefined) => (error === undefined ? resolve(place) : reject(error))
        sockets.push(connectPinned({ ...peer, ...place }, this.#context, this.#connectMs, onEnd))
      }
      return promise
    }
    let tried = 0
    const attempts = announced.map(async (place) => {
      const others = (await addressesOf(place, source.host)).filter(() => tried++ < MAX_TRIED)
      return await Promise.any(others.map((other) => this.#tryHost(other, attempt)))
    })
    try {
      return await orAborted(Promise.any([attempt(source), ...attempts]), signal)
    } catch {
      return undefined
    } finally {
      isOver = true
      // One that has not answered yet is given up with them.
      for (const socket of sockets) socket.on('error', () => {}).destroy()
    }
  }
}

/**
 * The addresses of an announced place that may be connected to. An address that leads to this machine, or to its link, is a peer's
 * only where its connection comes from there as well: what listens on those is often open to nobody else.
 * @param source host that the peer's connection comes from
 */
async function addressesOf({ host, port }: Place, source: string): Promise<readonly Place[]> {
  const found = await lookup(host, { all: true }).catch(() => [])
  const allowed = scopeOf(source)
  return found
    .map(({ address }) => ({ host: address, port, scope: scopeOf(address) }))
    .filter(({ scope }) => scope === 'wide' || (scope !== 'none' && scope === allowed))
    .map(({ scope: _, ...place }) => place)
}

/** A promise's value; undefined where the signal is aborted first. */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const { promise: aborted, resolve } = Promise.withResolvers<undefined>()
  const onAbort = () => resolve(undefined)
  signal.addEventListener('abort', onAbort)
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
