import { formatAddress } from '../../config/units.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { Bans } from './bans.ts'
import type { SwarmOptions } from './options.ts'
import { startParts } from './parts.ts'
import {
  type BlobFacts,
  type Coordination,
  type Links,
  type Names,
  type OpenRange,
  type PeerBody,
  PeerError,
  type PeerId,
  type ShareListener,
  type Swarm,
  type SwarmProblem,
  type SwarmStatus,
  type ToldTag,
} from './ports.ts'
import { findProviders } from './router/lookup.ts'
import { Reputation } from './router/reputation.ts'
import type { Parts } from './running.ts'
import { MAX_TAG_PEERS } from './transfer/constants.ts'

/** Creates the node's part in the swarm; nothing runs before `start`. */
export function createSwarm(options: SwarmOptions): Swarm {
  return new RunningSwarm(options)
}

/** Where nobody shares blobs. */
const nobody: ShareListener = {
  message: () => {},
  part: async () => {},
  moved: () => {},
  gone: () => {},
  claim: () => {},
  joined: () => {},
  left: () => {},
}

class RunningSwarm implements Swarm {
  readonly #options: SwarmOptions
  readonly #bans = new Bans()
  readonly #reputation = new Reputation()
  #parts: Parts | undefined
  #listener = nobody

  readonly links: Links = {
    send: (peer, message) => this.#parts?.links.send(peer, message),
    sendPart: async (peer, head, bytes, signal) => await this.#running.links.sendPart(peer, head, bytes, signal),
  }

  readonly coordination: Coordination = {
    coordinators: async (digest) => await this.#running.coordination.coordinators(digest),
    recorded: async (digest) => await this.#running.coordination.recorded(digest),
    announced: async (digest) => await this.#running.coordination.announced(digest),
    tell: async (peer, message) => await this.#running.coordination.tell(peer, message),
  }

  readonly names: Names = {
    tell: (name, except) => this.#parts?.names.tell(name, except),
    ask: (publisher) => this.#parts?.names.ask(publisher),
  }

  constructor(options: SwarmOptions) {
    this.#options = options
  }

  get self(): PeerId {
    return this.#running.node.peerId.toString()
  }

  listen(listener: ShareListener): void {
    this.#listener = listener
  }

  async start(): Promise<void> {
    if (this.#parts !== undefined) throw new Error('the swarm was started already')
    this.#parts = await startParts(this.#options, this.#listener, this.#bans, this.#reputation, (...ban) =>
      this.ban(...ban),
    )
  }

  async stop(): Promise<void> {
    const parts = this.#parts
    this.#parts = undefined
    await parts?.stop()
  }

  async *providers(digest: Digest, signal: AbortSignal): AsyncGenerator<PeerId, void> {
    const parts = this.#parts
    if (parts === undefined) return
    const admits = (peer: PeerId) => parts.admission.allows(peer) && parts.reach.isOpen(peer)
    const lookup = { ...parts, reputation: this.#reputation, admits, log: this.#options.log }
    yield* findProviders(lookup, digest, signal)
  }

  async open(peer: PeerId, digest: Digest, range: OpenRange, signal: AbortSignal): Promise<PeerBody> {
    return await this.#ask(peer, digest, ({ client }) => client.open(peer, digest, range, signal))
  }

  async stat(peer: PeerId, digest: Digest, signal: AbortSignal): Promise<BlobFacts> {
    return await this.#ask(peer, digest, ({ client }) => client.stat(peer, digest, signal))
  }

  async tags(reference: string, signal: AbortSignal, of?: readonly PeerId[]): Promise<readonly ToldTag[]> {
    const parts = this.#parts
    if (parts === undefined) return []
    const asked =
      of?.filter((peer) => parts.known.get(peer) !== undefined && parts.reach.isOpen(peer)) ?? nearest(parts)
    const answers = await Promise.all(
      asked.slice(0, MAX_TAG_PEERS).map((peer) =>
        parts.client.tag(peer, reference, signal).then(
          (told): ToldTag => ({ ...told, peer }),
          (error: PeerError) => {
            if (error.code === 'failed') this.#reputation.failed(peer)
            return undefined
          },
        ),
      ),
    )
    return answers.filter((answer) => answer !== undefined)
  }

  advertise(digest: Digest, priority: boolean): void {
    this.#parts?.advertiser.advertise(digest, priority)
  }

  async withdraw(digest: Digest): Promise<void> {
    await this.#parts?.advertiser.withdraw(digest)
  }

  siteOf(peer: PeerId): string | undefined {
    const { site } = this.#options.config
    return this.#parts?.known.siteOf(peer) ?? (site !== undefined && peer === this.self ? site : undefined)
  }

  canGive(peer: PeerId): boolean {
    return this.#parts?.reach.isOpen(peer) ?? true
  }

  ban(peer: PeerId, reason: string): void {
    this.#bans.add(peer, reason)
    this.#options.log.warn({ peer, reason }, 'a peer is left alone for a time')
    this.#options.onBan?.(peer, reason)
    this.#parts?.cut(peer)
  }

  status(): SwarmStatus {
    const parts = this.#running
    const { node, known, advertiser } = parts
    const addressOf = new Map(node.getConnections().map(({ remotePeer, remoteAddr }) => [`${remotePeer}`, remoteAddr]))
    const placeOf = (peerId: PeerId) => {
      const peer = known.get(peerId)
      return peer && formatAddress(peer)
    }
    return {
      peerId: node.peerId.toString(),
      multiaddrs: node.getMultiaddrs().map(String),
      transfer: parts.transferAddress,
      transferAnnounce: this.#options.config.transferAnnounce,
      peers: [...addressOf].map(([peerId, address]) => ({
        peerId,
        address: address.toString(),
        transfer: known.get(peerId) !== undefined && parts.reach.isOpen(peerId),
        transferAddress: placeOf(peerId),
        transferProblem: parts.reach.problemOf(peerId),
        rttMs: parts.rttOf(peerId),
      })),
      seeds: parts.discovery.seeds.status,
      problems: problemsOf(parts),
      banned: this.#bans.list(),
      provided: advertiser.provided,
      provideQueue: advertiser.queued,
    }
  }

  get #running(): Parts {
    if (this.#parts === undefined) throw new Error('the swarm is not running')
    return this.#parts
  }

  /** Runs a request, and takes note of a peer that does not have the blob or fails. */
  async #ask<T>(peer: PeerId, digest: Digest, request: (parts: Parts) => Promise<T>): Promise<T> {
    const parts = this.#parts
    if (parts === undefined) throw new PeerError('failed', peer, 'the swarm is not running')
    try {
      return await request(parts)
    } catch (error) {
      if (error instanceof PeerError && error.code === 'absent') this.#reputation.absent(peer, digest)
      if (error instanceof PeerError && error.code === 'failed') this.#reputation.failed(peer)
      throw error
    }
  }
}

function problemsOf({ discovery, clones, ownPort }: Parts): SwarmProblem[] {
  const texts = { identity: clones.problem, seeds: discovery.seeds.problem, transfer: ownPort.problem }
  return (['identity', 'seeds', 'transfer'] as const).flatMap((kind) => {
    const text = texts[kind]
    return text === undefined ? [] : [{ kind, text }]
  })
}

/** Connected peers that can be asked, by round-trip time. */
function nearest({ known, reach, rttOf }: Parts): PeerId[] {
  return known
    .list()
    .filter(({ peerId }) => reach.isOpen(peerId))
    .map(({ peerId }) => ({ peerId, rtt: rttOf(peerId) ?? Number.MAX_VALUE }))
    .sort((a, b) => a.rtt - b.rtt)
    .map(({ peerId }) => peerId)
}
