import type { TLSSocket } from 'node:tls'
import type { Upgraded } from '../transfer/upgrade.ts'

interface ConnectionsOptions {
  /** Called when a connection ends, or `take` throws. May be called more than once. */
  readonly fail: (error: Error) => void
}

/** Connections that live and end together. */
class Connections {
  readonly #fail: (error: Error) => void
  readonly #sockets = new Set<TLSSocket>()
  #isClosed = false

  constructor({ fail }: ConnectionsOptions) {
    this.#fail = fail
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /**
   * Adds a connection, and reads from it. It fails when it ends, or `take` throws.
   * @param use called before anything is read
   */
  add({ socket, read }: Upgraded, take: (bytes: Buffer) => void, use: () => void): void {
    if (this.#isClosed) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    const onEnd = () => this.#fail(new Error('the peer closed the connection'))
    socket.setNoDelay(true)
    socket.on('error', this.#fail).on('end', onEnd).on('close', onEnd)
    use()
    read((bytes) => {
      if (this.#isClosed) return
      try {
        take(bytes)
      } catch (error) {
        this.#fail(error as Error)
      }
    })
    // It may have ended before anybody listened.
    if (socket.destroyed) onEnd()
  }

  close(): void {
    this.#isClosed = true
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }
}

interface ControlLaneOptions extends ConnectionsOptions {
  /** Opens a connection to the peer. */
  readonly open: () => Promise<Upgraded>
  /** Takes what the peer sends over a connection. */
  readonly receive: (bytes: Buffer, socket: TLSSocket) => void
  /** There is a connection to send on. */
  readonly onStanding: (socket: TLSSocket) => void
}

/**
 * The connections for messages. There is one, or two where both sides have opened one at the same moment. Each side sends on the
 * connection that stood first for it, so that its messages stay in order.
 */
export class ControlLane {
  readonly #options: ControlLaneOptions
  readonly #connections: Connections
  #out: TLSSocket | undefined
  /** The connection that the peer sends on. */
  #in: TLSSocket | undefined
  #isOpening = false
  #hasInbound = false

  constructor(options: ControlLaneOptions) {
    this.#options = options
    this.#connections = new Connections(options)
  }

  /** The connection that this node sends on. */
  get out(): TLSSocket | undefined {
    return this.#out
  }

  /** Sees to it that there will be a connection to send on. */
  need(): void {
    if (this.#out !== undefined || this.#isOpening || this.#connections.isClosed) return
    this.#isOpening = true
    this.#options.open().then(
      (upgraded) => this.#add(upgraded),
      (error) => {
        // A connection that the peer has opened meanwhile serves as well.
        if (this.#out === undefined) this.#options.fail(error)
      },
    )
  }

  /** Takes a connection that the peer has opened; false where it has one already. */
  accept(upgraded: Upgraded): boolean {
    if (this.#hasInbound) return false
    this.#hasInbound = true
    this.#add(upgraded)
    return true
  }

  close(): void {
    this.#connections.close()
  }

  #add(upgraded: Upgraded): void {
    const { socket } = upgraded
    const take = (bytes: Buffer) => {
      this.#in ??= socket
      if (this.#in !== socket) throw new Error('the peer sends messages on two connections')
      this.#options.receive(bytes, socket)
    }
    this.#connections.add(upgraded, take, () => {
      if (this.#out !== undefined) return
      this.#out = socket
      this.#options.onStanding(socket)
    })
  }
}

interface BulkLaneOptions extends ConnectionsOptions {
  /** Opens a connection to the peer. */
  readonly open: () => Promise<Upgraded>
  /** Makes what takes the parts that come over a connection. */
  readonly receive: (socket: TLSSocket) => (bytes: Buffer) => void
  /** There is a connection to send on. */
  readonly onStanding: (socket: TLSSocket) => void
  /** Tells the peer that there are parts for it. */
  readonly ask: () => void
  /** How long the peer may take to connect, in ms. */
  readonly askMs: number
}

/**
 * The connections for parts: one for each direction, opened by the side that receives. That side reads into memory of its own. Node
 * has that for a socket that was opened, and not for one that was accepted. A node that can't be reached gets its parts, too.
 */
export class BulkLane {
  readonly #options: BulkLaneOptions
  readonly #connections: Connections
  #isIncoming = false
  #isOutgoing = false
  #timer: NodeJS.Timeout | undefined

  constructor(options: BulkLaneOptions) {
    this.#options = options
    this.#connections = new Connections(options)
  }

  /** Sees to it that there will be a connection to send on. */
  need(): void {
    const { ask, askMs, fail } = this.#options
    if (this.#isOutgoing || this.#timer !== undefined || this.#connections.isClosed) return
    this.#timer = setTimeout(() => fail(new Error(`the peer does not connect for parts within ${askMs} ms`)), askMs)
    ask()
  }

  /** The peer has parts: connects to it. */
  asked(): void {
    if (this.#isIncoming || this.#connections.isClosed) return
    this.#isIncoming = true
    this.#options
      .open()
      .then(
        (upgraded) => this.#connections.add(upgraded, this.#options.receive(upgraded.socket), () => {}),
        this.#options.fail,
      )
  }

  /** Takes a connection that the peer has opened; false where it has one already. */
  accept(upgraded: Upgraded): boolean {
    if (this.#isOutgoing) return false
    this.#isOutgoing = true
    clearTimeout(this.#timer)
    const take = () => {
      throw new Error('the peer sends where it should receive')
    }
    this.#connections.add(upgraded, take, () => this.#options.onStanding(upgraded.socket))
    return true
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#connections.close()
  }
}
