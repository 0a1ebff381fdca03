import type { TLSSocket } from 'node:tls'
import type { Upgraded } from '../transfer/upgrade.ts'

interface LaneOptions {
  /** Opens a connection of this kind to the peer. */
  readonly open: () => Promise<Upgraded>
  /** Makes what takes the bytes of a connection; what that throws ends the link. */
  readonly receive: (socket: TLSSocket) => (bytes: Buffer) => void
  /** There is a connection to send on. */
  readonly onStanding: (socket: TLSSocket) => void
  /** Told when a connection breaks, or none can be made; more than once perhaps. */
  readonly fail: (error: Error) => void
}

/**
 * The connections of one kind with a peer: one, or two where both sides have opened one at the same moment. Each side sends on the
 * one that stood first for it, so that what it sends stays in order, and takes what comes on one of them.
 */
export class Lane {
  readonly #options: LaneOptions
  readonly #sockets = new Set<TLSSocket>()
  #out: TLSSocket | undefined
  /** The one that the peer sends on. */
  #in: TLSSocket | undefined
  #isOpening = false
  #isClosed = false
  #hasInbound = false

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /** What is sent on. */
  get out(): TLSSocket | undefined {
    return this.#out
  }

  /** Sees to it that there will be a connection to send on. */
  need(): void {
    if (this.#out !== undefined || this.#isOpening || this.#isClosed) return
    this.#isOpening = true
    this.#options.open().then(
      (upgraded) => {
        this.#isOpening = false
        this.#add(upgraded)
      },
      (error) => {
        this.#isOpening = false
        // The peer's own connection serves as well.
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
    this.#isClosed = true
    for (const socket of this.#sockets) socket.destroy()
    this.#sockets.clear()
  }

  #add({ socket, head }: Upgraded): void {
    const { receive, onStanding, fail } = this.#options
    if (this.#isClosed) {
      socket.destroy()
      return
    }
    this.#sockets.add(socket)
    socket.setNoDelay(true)
    const take = receive(socket)
    const onData = (bytes: Buffer) => {
      if (this.#isClosed) return
      try {
        this.#in ??= socket
        if (this.#in !== socket) throw new Error('the peer sends on two connections')
        take(bytes)
      } catch (error) {
        fail(error as Error)
      }
    }
    const onEnd = () => fail(new Error('the peer closed the connection'))
    socket.on('data', onData).on('error', fail).on('end', onEnd).on('close', onEnd).resume()
    if (this.#out === undefined) {
      this.#out = socket
      onStanding(socket)
    }
    // Before all else that comes: the socket is read from the next tick on.
    if (head.length > 0) onData(head)
  }
}
