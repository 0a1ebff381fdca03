import type { KeyObject } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Stream, StreamHandler } from '@libp2p/interface'
import { encode } from 'cborg'
import { MAX_MESSAGE_BYTES } from '../coordination/constants.ts'
import { distanceOf, positionOf, positionOfPeer } from '../find/key-space.ts'
import type { PeerId } from '../ports.ts'
import { multihashOf } from '../router/cid.ts'
import { Answers, type AnswersOptions, UNREACHABLE } from './answers.ts'
import { MAX_HOPS, SECOND_WAY_MS } from './constants.ts'
import { RoutingStreams } from './conversations.ts'
import type { Answer, Ask, Found } from './message.ts'
import { Signer } from './signature.ts'

interface RouterOptions extends AnswersOptions {
  readonly key: KeyObject
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  /** A peer leaves this node for lack of room. */
  readonly onFull: (peer: PeerId) => void
  /** A peer says whether the swarm is large. */
  readonly onLarge: (peer: PeerId, isLarge: boolean) => void
}

/**
 * Passes what is for a key or a peer on to the connected peer that is nearer to it, until it is at the nearest node of all: see
 * `table.ts` for why it gets there. Nothing is multiplied: one request in is one out, but at its end, where a copy goes to the next
 * nearest. Each step is nearer than the last one, so none goes in a circle.
 */
export class Router {
  readonly #options: RouterOptions
  readonly #streams: RoutingStreams
  readonly #signer: Signer
  readonly #answers: Answers
  /** Connected peers, and where they are. */
  readonly #peers = new Map<PeerId, number>()
  readonly #position: number

  constructor(options: RouterOptions) {
    this.#options = options
    const { self, key, openStream, onFull, onLarge } = options
    this.#position = positionOfPeer(self)
    this.#signer = new Signer(self, key)
    this.#streams = new RoutingStreams({
      openStream,
      onAsk: (from, ask, hops) => this.#heard(from, ask, hops),
      onFull,
      onLarge,
    })
    this.#answers = new Answers({
      ...options,
      peers: this.#peers,
      isSilent: (peer) => this.#streams.isSilent(peer),
      ask: (peer, ask, hops) => this.#streams.pass(peer, ask, hops),
    })
  }

  get handler(): StreamHandler {
    return this.#streams.handler
  }

  stop(): void {
    this.#streams.stop()
  }

  /** To be called when requests can be sent to a peer. */
  connected(peer: PeerId): void {
    this.#peers.set(peer, positionOfPeer(peer))
  }

  disconnected(peer: PeerId): void {
    this.#peers.delete(peer)
    this.#streams.forget(peer)
  }

  isConnected(peer: PeerId): boolean {
    return this.#peers.has(peer)
  }

  /** Tells a connected peer that this node leaves it for lack of room. Rejects where it can't be told. */
  async tellFull(peer: PeerId): Promise<void> {
    await this.#streams.tell(peer, { full: true })
  }

  /** Tells a connected peer whether this node finds the swarm large. Rejects where it can't be told. */
  async tellLarge(peer: PeerId, large: boolean): Promise<void> {
    await this.#streams.tell(peer, { large })
  }

  /** The nodes nearest to a position, nearest first; none where the way there is broken. @param without left out, such as this node */
  async nearest(to: number, count: number, without?: PeerId): Promise<readonly Found[]> {
    const answer = await this.#request({ kind: 'nearest', to, count, ...(without === undefined ? {} : { without }) })
    return answer.kind === 'peers' ? answer.peers.filter(({ peer }) => isPeer(peer)) : []
  }

  /** Those nearest to a position of a connected peer and whom it is connected with; none where it does not answer. */
  async nearestKnownTo(peer: PeerId, to: number, count: number): Promise<readonly Found[]> {
    const answer = await this.#streams.ask(peer, { kind: 'nearest', to, count, without: this.#options.self }, 0)
    return answer?.kind === 'peers' ? answer.peers.filter((found) => isPeer(found.peer)) : []
  }

  /** Where a peer can be dialled; undefined where it is not in the swarm any more. Rejects once the signal is aborted. */
  async where(peer: PeerId, signal: AbortSignal): Promise<readonly string[] | undefined> {
    const answer = await orAborted(this.#request({ kind: 'where', to: positionOfPeer(peer), peer }), signal)
    return answer.kind === 'peers' ? answer.peers.find((found) => found.peer === peer)?.addresses : undefined
  }

  /** Who has announced a blob, as those near its key have recorded. */
  async find(key: Uint8Array): Promise<readonly PeerId[]> {
    const answer = await this.#request({ kind: 'find', to: positionOf(multihashOf(key)), key })
    return answer.kind === 'providers' ? answer.providers.filter(isPeer) : []
  }

  /**
   * Announces that this node has blobs, or has them no more, to the nodes near their keys.
   * @param keys in the order of their positions, so that one message serves those that are near the same node
   * @returns how many of them, from the first on, have reached the nodes near them; others have to be sent again
   * @throws {Error} where nobody was reached
   */
  async announce(action: 'place' | 'withdraw', keys: readonly Uint8Array[]): Promise<number> {
    const [first] = keys
    if (first === undefined) return 0
    const to = positionOf(multihashOf(first))
    const ask = this.#signer.sign({ kind: 'announce', to, action, keys: Buffer.concat(keys) })
    const answer = await this.#request(ask)
    if (answer.kind === 'taken') return Math.min(keys.length, Math.max(1, answer.taken))
    if (answer.kind === 'no' && answer.last !== undefined) this.#signer.goBeyond(answer.last)
    throw new Error(
      answer.kind === 'no' ? `the announcement is ${answer.reason}` : 'the answer is none to an announcement',
    )
  }

  /** Tells a peer that may not be connected something about claims. @throws {Error} where it can't be told */
  async tell(peer: PeerId, message: object): Promise<void> {
    const payload = encode(message)
    if (payload.length > MAX_MESSAGE_BYTES) {
      throw new RangeError(`a message of ${payload.length} bytes; a peer takes ${MAX_MESSAGE_BYTES} at most`)
    }
    let answer: Answer = UNREACHABLE
    for (let attempt = 0; attempt < 2; attempt++) {
      const ask = this.#signer.sign({ kind: 'tell', to: positionOfPeer(peer), peer, payload })
      answer = await this.#request(ask)
      if (answer.kind === 'taken') return
      if (answer.kind !== 'no' || answer.reason !== 'old' || answer.last === undefined) break
      // It has come there by the other way.
      if (answer.last === ask.number) return
      this.#signer.goBeyond(answer.last)
    }
    throw new Error(`${peer} is not told: ${answer.kind === 'no' ? answer.reason : 'the answer is none'}`)
  }

  /** A request of this node. Where its way takes long or is broken, it goes another way as well. Never rejects. */
  async #request(ask: Ask): Promise<Answer> {
    const tried = new Set<PeerId>()
    const { self } = this.#options
    const first = this.#route(ask, MAX_HOPS, tried, self)
    const early = await Promise.race([first, delay(SECOND_WAY_MS, undefined, { ref: false })])
    const isBroken = early?.kind === 'no' && (early.reason === 'unreachable' || early.reason === 'busy')
    if (early !== undefined && !isBroken) return early
    if (tried.size === 0 || this.#nearer(ask, tried) === undefined) return await first
    const second = this.#route(ask, MAX_HOPS, tried, self)
    if (early !== undefined) return await second
    const sooner = await Promise.race([first, second])
    return sooner.kind === 'no' && sooner.reason !== 'old' ? await lastOf(first, second) : sooner
  }

  async #heard(from: PeerId, ask: Ask, hops: number): Promise<Answer> {
    return await this.#route(ask, hops, new Set([from]), from)
  }

  /**
   * Passes a request on, or answers it where this node is the nearest.
   * @param tried who is not asked (again); those asked are added
   * @param from the peer that it comes from, or this node
   */
  async #route(ask: Ask, hops: number, tried: Set<PeerId>, from: PeerId): Promise<Answer> {
    const { self } = this.#options
    const isForThis =
      hops === 0 || ('peer' in ask && (ask.peer === self || (ask.kind === 'where' && this.#peers.has(ask.peer))))
    for (
      let next = isForThis ? undefined : this.#nearer(ask, tried);
      next !== undefined;
      next = this.#nearer(ask, tried)
    ) {
      tried.add(next)
      const answer =
        from === self ? await this.#streams.ask(next, ask, hops - 1) : await this.#streams.pass(next, ask, hops - 1)
      // Where nothing could be sent, the next one is as good.
      if (answer !== undefined) return answer
    }
    return await this.#answers.answer(ask, hops, from)
  }

  /** The connected peer that is nearest to where a request goes, and nearer than this node. */
  #nearer(ask: Ask, tried: ReadonlySet<PeerId>): PeerId | undefined {
    const { self, canGive } = this.#options
    if ('peer' in ask && this.#peers.has(ask.peer) && !tried.has(ask.peer)) return ask.peer
    const without = ask.kind === 'nearest' ? ask.without : undefined
    const isForKey = !('peer' in ask)
    let best: PeerId | undefined
    let least = without === self ? Number.POSITIVE_INFINITY : distanceOf(this.#position, ask.to)
    for (const [peer, position] of this.#peers) {
      const distance = distanceOf(position, ask.to)
      if (distance >= least || peer === without || tried.has(peer)) continue
      if (this.#streams.isSilent(peer) || (isForKey && !canGive(peer))) continue
      best = peer
      least = distance
    }
    return best
  }
}

/** @throws the signal's reason, once it is aborted */
async function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  return await Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', onAbort))
}

/** Whether a text from a peer is a PeerId. */
function isPeer(text: string): boolean {
  try {
    positionOfPeer(text)
    return true
  } catch {
    return false
  }
}

/** The better one of two answers. */
async function lastOf(first: Promise<Answer>, second: Promise<Answer>): Promise<Answer> {
  const [one, other] = await Promise.all([first, second])
  return one.kind === 'no' ? other : one
}
