import type { Stream } from '@libp2p/interface'
import type { Logger } from 'pino'
import type { PeerId } from '../ports.ts'
import { ANSWER_TIMEOUT_MS } from './constants.ts'
import { decodeAnswer, encodeRequest, type FindAnswer } from './message.ts'
import { Requests } from './requests.ts'

interface FindClientOptions {
  readonly openStream: (peer: PeerId, signal: AbortSignal) => Promise<Stream>
  readonly log: Logger
}

/** Asks connected peers for providers, on one stream each. */
export class FindClient {
  readonly #requests: Requests<FindAnswer>
  readonly #log: Logger

  constructor({ openStream, log }: FindClientOptions) {
    this.#requests = new Requests({ openStream, decode: decodeAnswer, patienceMs: ANSWER_TIMEOUT_MS })
    this.#log = log
  }

  /** Opens the stream to a peer ahead of the first question. */
  prepare(peer: PeerId): void {
    this.#requests.prepare(peer).catch((error) => this.#log.debug({ peer, err: error }, 'no stream to ask on'))
  }

  forget(peer: PeerId): void {
    this.#requests.forget(peer)
  }

  /**
   * Providers that a peer's records name for a key. Rejects where the peer can't be asked or the connection goes. The caller
   * bounds the wait; a peer that leaves questions open is not asked again until it answers.
   */
  async ask(peer: PeerId, key: Uint8Array): Promise<readonly PeerId[]> {
    return (await this.#requests.ask(peer, (id) => encodeRequest({ id, key }))).providers
  }
}
