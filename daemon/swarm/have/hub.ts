import type { Digest } from '../../../proxy/oci/digest.ts'
import { Bitfield } from '../../verify/bitfield.ts'
import { stateBytes } from '../../verify/state.ts'
import type { Conversation } from '../conversation.ts'
import type { BlobWatch, HaveListener, PeerId, SharedContent } from '../ports.ts'
import { Announcer } from '../session/announcer.ts'
import type { Offers } from '../session/offers.ts'
import { PeerTable } from '../session/peer-table.ts'
import { MAX_REPOSITORIES } from '../transfer/constants.ts'
import { GATHER_MS } from './constants.ts'
import type { HaveAnswer, HaveQuestion } from './message.ts'

/** Where a peer wants to be told. */
export interface Watcher {
  readonly peer: PeerId
  readonly id: number
  /** Whether it holds the blob, and only wants to know what this node still lacks. */
  readonly isBack: boolean
  readonly conversation: Conversation<HaveQuestion, HaveAnswer>
}

interface Watching extends Watcher {
  /** Checkpoints that it was told; -1 before it was told anything. */
  statesTold: number
  /** Ends the watch of what it holds; undefined where that is not watched from here. */
  back: AbortController | undefined
  /** Chunks that it is told of as soon as it takes what it was sent. */
  readonly waiting: number[]
  /** Whether there is something to tell it, of these or of the list. */
  isDue: boolean
}

interface HubOptions {
  readonly digest: Digest
  readonly content: Pick<SharedContent, 'watch'>
  /** What this node has offered its peers, of all blobs. */
  readonly offers: Offers
  /** Requests for chunks that this node has under way to its peers. */
  readonly requests: () => number
  /** Chunks that this node may send in addition to those that it is sending. */
  readonly room: () => number
  /** Chunks of this blob that this node is sending. */
  readonly sending: () => number
  /** A peer told that it holds a chunk. @returns whether it has just got it from here */
  readonly delivered: (peer: PeerId, chunk: number) => boolean
  /** Watches what a peer holds that watches this node. */
  readonly watchBack: (peer: PeerId, listener: HaveListener, signal: AbortSignal) => void
  /** Nobody watches any more, or there is nothing to be told. */
  readonly onEmpty: () => void
}

/** One blob that peers watch here: tells each of them, at the right moment, which chunks are held. */
export class Hub {
  readonly #options: HubOptions
  readonly #watchers = new Map<PeerId, Watching>()
  readonly #ended = new AbortController()
  readonly #pokeNow = () => this.poke(0)
  #isStarted = false
  #watch: BlobWatch | undefined
  #announcer: Announcer | undefined
  #peers: PeerTable | undefined
  /** Of what the watchers were told. */
  #revision = 0
  #timer: NodeJS.Timeout | undefined
  #timerAt = Number.POSITIVE_INFINITY

  constructor(options: HubOptions) {
    this.#options = options
  }

  /** Begins to watch the blob; its end, also at once, is told to all watchers. */
  async start(): Promise<void> {
    const { content, digest } = this.#options
    const watch = await content.watch(digest, {
      changed: () => this.poke(GATHER_MS),
      got: (chunk, from) => {
        this.#announcer?.got(chunk, from)
        this.poke(GATHER_MS)
      },
      heard: (peer, chunk) => this.#heard(peer, chunk),
    })
    if (this.#ended.signal.aborted) return watch?.close()
    this.#watch = watch
    this.#isStarted = true
    for (const { peer } of this.#watchers.values()) watch?.met(peer)
    this.#tell()
  }

  /** A peer wants to be told; where it was told already, elsewhere, that ends. */
  add(watcher: Watcher): void {
    const { peer } = watcher
    const before = this.#watchers.get(peer)
    if (before !== undefined) {
      this.#announcer?.leave(peer)
      before.conversation.send({ type: 'none', id: before.id })
    }
    this.#watchers.set(peer, { ...watcher, statesTold: -1, back: before?.back, waiting: [], isDue: false })
    this.#watch?.met(peer)
    this.poke(0)
  }

  /** A peer does not want to be told any more; it may have asked for it again, elsewhere, and that goes on. */
  remove({ peer, id, conversation }: Omit<Watcher, 'isBack'>): void {
    const current = this.#watchers.get(peer)
    if (current?.id !== id || current.conversation !== conversation) return
    this.#watchers.delete(peer)
    current.back?.abort()
    this.#announcer?.leave(peer)
    if (this.#watchers.size === 0) this.end()
    else this.poke(GATHER_MS)
  }

  /** Whether a peer tells here what it has got: a fetch watches fewer peers than may watch it. */
  hears(peer: PeerId): boolean {
    return this.#peers?.get(peer) !== undefined
  }

  /** Tells what is to be told in `ms` at the latest. */
  poke(ms: number): void {
    const at = performance.now() + ms
    if (at >= this.#timerAt || this.#ended.signal.aborted) return
    clearTimeout(this.#timer)
    this.#timerAt = at
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY
      this.#tell()
    }, ms)
  }

  end(): void {
    if (this.#ended.signal.aborted) return
    this.#ended.abort(new Error('nobody watches any more'))
    clearTimeout(this.#timer)
    this.#announcer?.end()
    for (const { conversation, id, back } of this.#watchers.values()) {
      conversation.send({ type: 'none', id })
      back?.abort()
    }
    this.#watchers.clear()
    this.#watch?.close()
    this.#options.onEmpty()
  }

  #heard(peer: PeerId, chunk: number): void {
    if (this.#options.delivered(peer, chunk)) this.#announcer?.served(peer, chunk, performance.now())
    else this.#announcer?.heard(peer, chunk)
    this.poke(GATHER_MS)
  }

  #tell(): void {
    if (this.#ended.signal.aborted || !this.#isStarted) return
    const watch = this.#watch
    if (watch === undefined || watch.hasEnded()) {
      this.end()
      return
    }
    const { held, facts } = watch
    // Nobody has answered yet; the next change tells.
    if (held === undefined || facts === undefined) return
    if (watch.revision() !== this.#revision) this.#takeBack(watch)
    if (this.#announcer === undefined) {
      this.#peers = watch.peers ?? new PeerTable(held)
      const { digest: blob, offers } = this.#options
      this.#announcer = new Announcer({ blob, held, peers: this.#peers, offers })
    }
    for (const watcher of this.#watchers.values()) {
      if (watcher.statesTold < 0) this.#introduce(watcher, watch)
      // A fetch watches its peers itself, until it is over; a blob that is held does not.
      if (watch.peers === undefined && !watcher.isBack) this.#watchBack(watcher)
    }
    const { room, sending } = this.#options
    const { tell, wakeAt } = this.#announcer.plan(performance.now(), room(), sending())
    for (const { peer, chunks } of tell) {
      const watcher = this.#watchers.get(peer)
      if (watcher === undefined) continue
      watcher.waiting.push(...chunks)
      watcher.isDue = true
    }
    for (const watcher of this.#watchers.values()) if (watcher.isDue) this.#sendWaiting(watcher, watch)
    if (wakeAt < Number.POSITIVE_INFINITY) this.poke(Math.max(wakeAt - performance.now(), GATHER_MS))
  }

  /** What the watchers were told is not so any more: each is introduced anew. */
  #takeBack(watch: BlobWatch): void {
    this.#revision = watch.revision()
    this.#announcer?.end()
    this.#announcer = undefined
    for (const watcher of this.#watchers.values()) {
      if (watcher.statesTold < 0) continue
      watcher.statesTold = -1
      watcher.waiting.length = 0
      watcher.isDue = false
      watcher.conversation.send({ type: 'none', id: watcher.id })
    }
  }

  /** Whether a watcher takes what it is sent; where it does not, it is told more when it does. */
  #takes({ conversation }: Watcher): boolean {
    if (!conversation.isClogged) return true
    conversation.whenDrained(this.#pokeNow)
    return false
  }

  #sendWaiting(watcher: Watching, watch: BlobWatch): void {
    if (!this.#takes(watcher)) return
    const chunks = watcher.waiting.splice(0)
    const states = this.#statesFor(watcher, watch)
    watcher.isDue = false
    if (chunks.length === 0 && states.length === 0) return
    watcher.conversation.send({ type: 'got', id: watcher.id, chunks, states, requests: this.#options.requests() })
  }

  #introduce(watcher: Watching, watch: BlobWatch): void {
    const { facts, held } = watch
    if (facts === undefined || held === undefined || this.#announcer === undefined || !this.#takes(watcher)) return
    watcher.statesTold = 0
    const shown = this.#announcer.introduce(watcher.peer)
    watcher.conversation.send({
      type: 'blob',
      id: watcher.id,
      size: facts.size,
      ...(facts.mediaType === undefined ? {} : { mediaType: facts.mediaType }),
      public: facts.access === 'public',
      repositories: facts.access === 'public' ? [] : facts.repositories.slice(-MAX_REPOSITORIES),
      isComplete: held.isFull,
      held: shown.encode(),
      states: this.#statesFor(watcher, watch),
    })
  }

  #watchBack(watcher: Watching): void {
    if (watcher.back !== undefined) return
    watcher.back = new AbortController()
    this.#options.watchBack(watcher.peer, this.#listenTo(watcher.peer), watcher.back.signal)
  }

  /** What the watcher of a complete blob holds itself. */
  #listenTo(peer: PeerId): HaveListener {
    const isCurrent = () => this.#watchers.has(peer)
    return {
      blob: (facts, held) => {
        if (!isCurrent() || facts.size !== this.#watch?.facts?.size) return
        // It shows a part of what it holds, and more of that may be known.
        if (this.#peers?.get(peer) === undefined) this.#peers?.join(peer, new Bitfield(held.length))
        this.#holds(peer, held.indexes())
      },
      got: (chunks) => this.#holds(peer, chunks),
      gone: () => this.#peers?.leave(peer),
    }
  }

  #holds(peer: PeerId, chunks: Iterable<number>): void {
    for (const chunk of chunks) if (this.#peers?.has(peer, chunk)) this.#heard(peer, chunk)
  }

  #statesFor(watcher: { statesTold: number }, watch: BlobWatch): Uint8Array<ArrayBuffer> {
    const states = Uint8Array.from(watch.states(watcher.statesTold))
    watcher.statesTold += states.length / stateBytes
    return states
  }
}
