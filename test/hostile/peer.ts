import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { base58btc } from 'multiformats/bases/base58'
import type { Turn, Want } from '../../daemon/share/plan/messages.ts'
import type { BlobFacts, PeerId, ShareListener } from '../../daemon/swarm/ports.ts'
import { chunkBytes, quarterBytes } from '../../daemon/verify/quarter.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { piecesOf, pseudoRandomBytes } from '../fixtures/bytes.ts'
import { type Script, ScriptedPeer } from '../fixtures/scripted-peer.ts'
import { ShareRecorder } from '../fixtures/share-listener.ts'
import { checkpointsOf, type TestNode, type TestSwarm, until } from '../fixtures/swarm.ts'

/**
 * - `size`: says that a blob is longer than it is, each peer by another length
 * - `coordinator`: says that somebody else reads upstream, another one each time, and that it goes on
 * - `inventor`: the same, of peers that do not exist
 * - `trickle`: has all, and takes 7 s to send a chunk
 * - `mute`: takes connections and questions, and never says a word
 * - `absent`: says that it has all, and has no chunk for anybody who asks
 * - `frozen`: says that it has all, takes questions, and sends nothing
 * - `wrong`: sends bytes that don't fit the checkpoints
 */
export const HOSTILE_KINDS = [
  'size',
  'coordinator',
  'inventor',
  'trickle',
  'mute',
  'absent',
  'frozen',
  'wrong',
] as const

export type HostileKind = (typeof HOSTILE_KINDS)[number]

/** A blob as it really is, of which hostile peers speak. */
interface TrueBlob {
  readonly bytes: Buffer
  readonly states: Uint8Array
}

/** What all hostile peers of a test know. */
export interface Gang {
  readonly blobs: Map<Digest, TrueBlob>
  readonly peers: HostilePeer[]
}

export const newGang = (): Gang => ({ blobs: new Map(), peers: [] })

/** How long a chunk of one that trickles takes, in ms. */
const TRICKLE_MS = 7_000

/** How often one that lies about who reads upstream says so, in ms. */
const REPEAT_MS = 400

/** Peers that it names at most. */
const NAMED = 24

/** PeerIds of keys that nobody has. */
function invented(): readonly PeerId[] {
  const idOf = () => base58btc.baseEncode(Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20, ...randomBytes(32)))
  return Array.from({ length: NAMED }, idOf)
}

/** A real node that has come to do harm. It can be made one of another kind between two pulls. */
export class HostilePeer {
  readonly #gang: Gang
  readonly #number: number
  readonly scripted: ScriptedPeer
  kind: HostileKind = 'mute'
  #node: TestNode | undefined
  readonly #asked = new Map<PeerId, Map<string, number>>()
  #timer: NodeJS.Timeout | undefined

  private constructor(gang: Gang) {
    this.#gang = gang
    this.#number = gang.peers.length
    const node = () => this.node
    const host = {
      get links() {
        return node().swarm.links
      },
      listen: () => {},
    }
    this.scripted = new ScriptedPeer(host, (digest) => this.#script(digest))
  }

  static async join(gang: Gang, swarm: TestSwarm): Promise<HostilePeer> {
    const peer = new HostilePeer(gang)
    gang.peers.push(peer)
    peer.#node = await swarm.node({ listener: peer.#listener() })
    const { content } = peer.node
    content.open = async (digest) => await peer.#open(digest)
    return peer
  }

  get node(): TestNode {
    if (this.#node === undefined) throw new Error('it has not started')
    return this.#node
  }

  get id(): PeerId {
    return this.node.peerId()
  }

  /** Says to all whom it knows that it has these blobs, and waits until they have heard it. */
  async announce(digests: readonly Digest[]): Promise<void> {
    for (const digest of digests) this.node.swarm.advertise(digest, true)
    await until(() => {
      const { provided, provideQueue } = this.node.status()
      return provided >= digests.length && provideQueue === 0
    }, 30_000)
  }

  /** Forgets who has asked. */
  rest(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#asked.clear()
  }

  #listener(): ShareListener {
    const recorder = new ShareRecorder()
    const speaks = () => this.kind !== 'mute'
    return {
      message: (peer, bytes) => (speaks() ? this.scripted.message(peer, bytes) : undefined),
      part: async () => {},
      moved: () => {},
      gone: (peer) => this.scripted.gone(peer),
      claim: (peer, message) => {
        if (this.kind === 'coordinator' || this.kind === 'inventor')
          this.#claimed(peer, message as { wants?: readonly Want[] })
        else if (speaks()) this.node.sharing.claim(peer, message)
      },
      joined: (peer) => this.node.sharing.joined(peer),
      left: (peer) => {
        recorder.left(peer)
        this.node.sharing.left(peer)
      },
    }
  }

  #claimed(from: PeerId, { wants }: { wants?: readonly Want[] }): void {
    if (wants === undefined) return
    const asked = this.#asked.get(from) ?? new Map()
    this.#asked.set(from, asked)
    for (const { blob, wish } of wants) {
      if (wish === 'gone' || wish === 'done') asked.delete(blob)
      else asked.set(blob, asked.get(blob) ?? 0)
    }
    this.#lie(from)
    this.#timer ??= setInterval(() => {
      for (const one of this.#asked.keys()) this.#lie(one)
    }, REPEAT_MS)
    this.#timer.unref()
  }

  #lie(to: PeerId): void {
    const named = this.kind === 'inventor' ? invented() : this.#gang.peers.map(({ id }) => id)
    const turns: Turn[] = []
    const asked = this.#asked.get(to) ?? new Map<string, number>()
    for (const [blob, times] of asked) {
      asked.set(blob, times + 1)
      const head = named[(this.#number + times) % named.length]
      turns.push({ blob, role: 'none', head, brought: times + 1, members: named.slice(0, NAMED) })
    }
    if (turns.length > 0) this.node.swarm.coordination.tell(to, { kind: 'turns', turns }).catch(() => {})
  }

  /** What it says of a blob, and gives. */
  #script(digest: Digest): Script | undefined {
    const blob = this.#gang.blobs.get(digest)
    if (blob === undefined) return undefined
    const { bytes, states } = blob
    switch (this.kind) {
      case 'size': {
        const size = this.#falseSize(bytes.length)
        const made = pseudoRandomBytes(Math.min(size, 64 * 1024), `made ${this.#number}`)
        const give = (start: number, end: number) => piecesOf(Buffer.alloc(end + 1 - start, made[0] ?? 0), 65_536)
        return { bytes: made, states: new Uint8Array(0), facts: { size }, give }
      }
      case 'trickle':
        // Busy ones are believed for longer, as it may be others who slow them.
        return { bytes, states, free: this.#number % 2 === 0 ? 0 : 4, give: trickle(bytes) }
      case 'absent':
        return { bytes, states, answer: this.#number % 2 === 0 ? 'none' : 'busy' }
      case 'frozen':
        return { bytes, states, answer: 'nothing' }
      case 'wrong':
        return { bytes: pseudoRandomBytes(bytes.length, `wrong ${this.#number}`), states }
      default:
        return { bytes, states: new Uint8Array(0), held: [], answer: 'none' }
    }
  }

  #falseSize(size: number): number {
    return this.#number % 2 === 0 ? 50 * 2 ** 30 + this.#number : size + (this.#number + 1) * chunkBytes
  }

  /** The same by HTTPS. */
  async #open(digest: Digest) {
    const script = this.kind === 'absent' ? undefined : this.#script(digest)
    if (this.kind === 'mute') await new Promise(() => {})
    if (script === undefined) return undefined
    const facts: BlobFacts = {
      size: script.bytes.length,
      mediaType: undefined,
      access: 'public',
      repositories: [],
      ...script.facts,
    }
    const whole = (start: number, end: number) => piecesOf(script.bytes.subarray(start, end + 1), 65_536)
    return { ...facts, has: async () => true, read: script.give ?? whole, close: async () => {} }
  }
}

function trickle(bytes: Buffer): NonNullable<Script['give']> {
  return async function* (start, end, signal) {
    await delay((TRICKLE_MS * quarterBytes) / chunkBytes, undefined, { signal })
    yield bytes.subarray(start, end + 1)
  }
}

/** A blob with its checkpoints, which hostile peers know of from now on. */
export async function betray(gang: Gang, digest: Digest, bytes: Buffer): Promise<void> {
  gang.blobs.set(digest, { bytes, states: await checkpointsOf(bytes) })
}
