import type { PeerId } from './ports.ts'

/** Where a peer's transfer server is, as its hello told over the authenticated connection. */
export interface KnownPeer {
  readonly peerId: PeerId
  readonly host: string
  readonly port: number
  /** SHA-256 of its transfer certificate in DER, lower-case hex. */
  readonly fingerprint: string
  /** Where its connection comes from, with the port that it told; `host` and `port` where that is left out. */
  readonly source?: { readonly host: string; readonly port: number }
  /** Other places of its transfer server, as it told. */
  readonly announced?: readonly { readonly host: string; readonly port: number }[]
  /** As it told. */
  readonly site?: string | undefined
}

interface Waiting extends PromiseWithResolvers<KnownPeer> {
  waiters: number
}

/**
 * Connected peers whose hello is known; the transfer's both ends admit nobody else. A peer is `known` once it told its
 * certificate, and `ready` once it has ours as well: a request that is sent earlier could arrive before our fingerprint.
 */
export class KnownPeers {
  readonly #peers = new Map<PeerId, { peer: KnownPeer; ready: boolean }>()
  readonly #waiting = new Map<PeerId, Waiting>()
  /** A set for each: a peer that copies another's fingerprint must not be able to shut it out. */
  readonly #byFingerprint = new Map<string, Set<PeerId>>()
  readonly #admits: (peer: PeerId) => boolean

  readonly #onReady: (peer: PeerId) => void

  /** `admits` is asked at each use: a ban holds from the moment it is spoken. */
  constructor(admits: (peer: PeerId) => boolean, onReady: (peer: PeerId) => void) {
    this.#admits = admits
    this.#onReady = onReady
  }

  add(peer: KnownPeer): void {
    this.delete(peer.peerId)
    this.#peers.set(peer.peerId, { peer, ready: false })
    const same = this.#byFingerprint.get(peer.fingerprint)
    if (same === undefined) this.#byFingerprint.set(peer.fingerprint, new Set([peer.peerId]))
    else same.add(peer.peerId)
  }

  /** Takes note of where a peer that was added is really reached. Gives what is known of it then; undefined where it has gone. */
  move(peer: KnownPeer, { host, port }: Pick<KnownPeer, 'host' | 'port'>): KnownPeer | undefined {
    const entry = this.#peers.get(peer.peerId)
    if (entry?.peer !== peer) return undefined
    entry.peer = { ...peer, source: peer.source ?? { host: peer.host, port: peer.port }, host, port }
    return entry.peer
  }

  /** Marks what was added as usable for requests to the peer. */
  ready(peer: KnownPeer): void {
    const entry = this.#peers.get(peer.peerId)
    if (entry?.peer !== peer) return
    entry.ready = true
    this.#waiting.get(peer.peerId)?.resolve(peer)
    this.#waiting.delete(peer.peerId)
    this.#onReady(peer.peerId)
  }

  /** Forgets a peer, and gives what was known of it. */
  delete(peerId: PeerId): KnownPeer | undefined {
    const peer = this.#peers.get(peerId)?.peer
    if (peer === undefined) return undefined
    const { fingerprint } = peer
    this.#peers.delete(peerId)
    const same = this.#byFingerprint.get(fingerprint)
    same?.delete(peerId)
    if (same?.size === 0) this.#byFingerprint.delete(fingerprint)
    return peer
  }

  /** The peer, if requests can be sent to it. */
  get(peerId: PeerId): KnownPeer | undefined {
    const entry = this.#peers.get(peerId)
    return entry?.ready && this.#admits(peerId) ? entry.peer : undefined
  }

  /** The site that a peer has told; undefined where it has not. */
  siteOf(peerId: PeerId): string | undefined {
    return this.#peers.get(peerId)?.peer.site
  }

  /**
   * The peer that is known and admitted and told this certificate. Where several did, all but one have copied it: the one
   * whose connection comes from the same address is meant.
   */
  byFingerprint(fingerprint: string, address: string | undefined): PeerId | undefined {
    const admitted = [...(this.#byFingerprint.get(fingerprint) ?? [])].filter(this.#admits)
    if (admitted.length < 2 || address === undefined) return admitted[0]
    const host = plainHost(address)
    return admitted.find((peerId) => plainHost(this.#sourceOf(peerId)) === host) ?? admitted[0]
  }

  #sourceOf(peerId: PeerId): string {
    const peer = this.#peers.get(peerId)?.peer
    return peer?.source?.host ?? peer?.host ?? ''
  }

  /** Peers that requests can be sent to. */
  list(): readonly KnownPeer[] {
    return [...this.#peers.keys()].map((peerId) => this.get(peerId)).filter((peer) => peer !== undefined)
  }

  /** Waits until requests can be sent to a peer. Rejects with the signal's reason. */
  async waitFor(peerId: PeerId, signal: AbortSignal): Promise<KnownPeer> {
    signal.throwIfAborted()
    const known = this.get(peerId)
    if (known !== undefined) return known
    const waiting = this.#waiting.get(peerId) ?? { ...Promise.withResolvers<KnownPeer>(), waiters: 0 }
    this.#waiting.set(peerId, waiting)
    waiting.waiters++
    const aborted = Promise.withResolvers<never>()
    const onAbort = () => aborted.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([waiting.promise, aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
      waiting.waiters--
      if (waiting.waiters === 0 && this.#waiting.get(peerId) === waiting) this.#waiting.delete(peerId)
    }
  }
}

/** An IPv4 address has two forms on a socket that listens on IPv6. */
function plainHost(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').toLowerCase()
}
