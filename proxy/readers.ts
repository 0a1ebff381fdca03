import type { IncomingMessage } from 'node:http'
import { clientOf, isLoopback, plainAddress } from './addresses.ts'

/** Bodies that are sent to the network at the same time. Each holds memory until its client takes it; more wait in line. */
const maxReaders = 512

/** Bodies that are sent to this machine at the same time. They have places of their own: no stranger shuts out containerd here. */
const maxLocalReaders = 256

/** Bodies for one client at the same time. A node opens a dozen for an image, and many nodes may be behind one address. */
const maxReadersOfOne = 128

/** After this long in line, in ms, a client gets a place of whoever has more of them. Places that are in use come free much sooner. */
const fairPatience = 10_000

/**
 * A body that has not moved for so long, in ms, gives its place to the next in line. Less than a client in line waits for its first
 * byte.
 */
const stallPatience = 18_000

/** How often it is looked at who waits, in ms. */
const checkInterval = 1_000

/** A body that may be sent. */
export interface Place {
  /** Aborts when somebody else is to have the place. */
  readonly signal: AbortSignal
  /** The client has taken a chunk. */
  moved(): void
  /** Gives the place back. */
  leave(): void
}

/**
 * Who is sent a body at present. All others wait in line. A free place goes to the client that has the fewest, so neither many requests
 * nor slow ones keep anybody else out: the clients that want more share the places equally in the end.
 */
export class Readers {
  readonly #network = new Room(maxReaders)
  readonly #local = new Room(maxLocalReaders)

  /**
   * Waits for a place.
   * @throws the signal's reason
   */
  async enter({ socket }: IncomingMessage, signal: AbortSignal): Promise<Place> {
    signal.throwIfAborted()
    const address = plainAddress(socket.remoteAddress) ?? ''
    const room = address !== '' && isLoopback(address) ? this.#local : this.#network
    return await room.enter(clientOf(address), signal)
  }
}

interface Client {
  readonly places: Set<Taken>
  /** Requests in line. */
  waiting: number
}

interface Taken {
  readonly client: Client
  readonly giveUp: AbortController
  movedAt: number
}

interface Waiting {
  readonly client: Client
  readonly since: number
  readonly take: () => void
}

/** Places that clients share. */
class Room {
  readonly #size: number
  readonly #clients = new Map<string, Client>()
  readonly #line = new Set<Waiting>()
  #taken = 0
  #checks: NodeJS.Timeout | undefined

  constructor(size: number) {
    this.#size = size
  }

  async enter(name: string, signal: AbortSignal): Promise<Place> {
    const client = this.#clients.get(name) ?? { places: new Set(), waiting: 0 }
    this.#clients.set(name, client)
    try {
      if (this.#isFree(client)) return this.#take(name, client)
      return await this.#wait(name, client, signal)
    } finally {
      this.#forget(name, client)
    }
  }

  #isFree({ places }: Client): boolean {
    return this.#taken < this.#size && places.size < maxReadersOfOne
  }

  #take(name: string, client: Client): Place {
    const taken: Taken = { client, giveUp: new AbortController(), movedAt: performance.now() }
    client.places.add(taken)
    this.#taken++
    return {
      signal: taken.giveUp.signal,
      moved: () => {
        taken.movedAt = performance.now()
      },
      leave: () => {
        if (!client.places.delete(taken)) return
        this.#taken--
        this.#next()?.take()
        this.#forget(name, client)
      },
    }
  }

  /** Of those in line whose turn it may be, the first one of the client that has the fewest places. */
  #next(): Waiting | undefined {
    let best: Waiting | undefined
    for (const waiting of this.#line) {
      if (!this.#isFree(waiting.client)) continue
      if (best === undefined || waiting.client.places.size < best.client.places.size) best = waiting
    }
    return best
  }

  async #wait(name: string, client: Client, signal: AbortSignal): Promise<Place> {
    const { promise, resolve, reject } = Promise.withResolvers<Place>()
    const leaveLine = (): void => {
      this.#line.delete(waiting)
      client.waiting--
      if (this.#line.size > 0) return
      clearInterval(this.#checks)
      this.#checks = undefined
    }
    const take = (): void => {
      leaveLine()
      // At once, so that nobody who comes later takes it first.
      resolve(this.#take(name, client))
    }
    const giveUp = (): void => {
      leaveLine()
      reject(signal.reason)
    }
    const waiting: Waiting = { client, since: performance.now(), take }
    this.#line.add(waiting)
    client.waiting++
    this.#checks ??= setInterval(() => this.#makeRoom(), checkInterval).unref()
    signal.addEventListener('abort', giveUp, { once: true })
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', giveUp)
    }
  }

  #forget(name: string, client: Client): void {
    if (client.places.size === 0 && client.waiting === 0) this.#clients.delete(name)
  }

  /** Takes places away for those in line. What still bodies have is given to all of them, and a share to each client slowly. */
  #makeRoom(): void {
    const now = performance.now()
    const clients = [...this.#clients.values()]
    const stalled = stillest(clients, now - stallPatience)
    const shared = new Set<Client>()
    for (const { client, since } of this.#line) {
      // The client's own places are full, or all are.
      const isOwn = client.places.size >= maxReadersOfOne
      const at = stalled.findIndex((taken) => !isOwn || taken.client === client)
      const [found] = at < 0 ? [] : stalled.splice(at, 1)
      if (found !== undefined) giveAway(found)
      else if (!isOwn && !shared.has(client) && now - since >= fairPatience) {
        shared.add(client)
        const most = clients.reduce((a, b) => (b.places.size > a.places.size ? b : a))
        // With one place more than the other they would take it from each other without end.
        const [first] = most.places.size > client.places.size + 1 ? stillest([most], now) : []
        if (first !== undefined) giveAway(first)
      }
    }
  }
}

/** The bodies that have not moved since a time and were not told to end, the stillest first. */
function stillest(clients: readonly Client[], since: number): Taken[] {
  return clients
    .flatMap(({ places }) => [...places])
    .filter(({ movedAt, giveUp }) => movedAt <= since && !giveUp.signal.aborted)
    .sort((a, b) => a.movedAt - b.movedAt)
}

function giveAway({ giveUp }: Taken): void {
  giveUp.abort(new Error('others wait for a place, and this client takes too little, or has most of the places'))
}
