import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks'
import { Server, Socket, type TcpSocketConnectOpts } from 'node:net'

/*
 * A host for each node of a process. Nodes bound dials, arrivals and places by the address at the other end. With one address for all, 200
 * nodes would share the bounds of one host. Each node listens at an address of its own in 127.0.0.0/8. What is added here is the other
 * half: connections that a node makes come from its address too, as they would on a machine of its own. The product runs as it is, with
 * all its limits.
 */

const hosts = new AsyncLocalStorage<string | undefined>()
let made = 0
let strays = 0

/** Runs something. All connections that it makes, now and later, come from an address of this machine. */
export function at<T>(host: string | undefined, run: () => T): T {
  return hosts.run(host, run)
}

/** Connections that this process has made so far, and how many of them have come from the address of no node. */
export function connections(): { readonly made: number; readonly strays: number } {
  return { made, strays }
}

const connect = Socket.prototype.connect as (this: Socket, ...args: unknown[]) => Socket
Object.assign(Socket.prototype, {
  connect(this: Socket, ...args: unknown[]) {
    const localAddress = hosts.getStore()
    const [first] = args
    made++
    if (localAddress === undefined) strays++
    // node:net calls it with its options in an array.
    else if (Array.isArray(first)) first[0] = { ...(first[0] as TcpSocketConnectOpts), localAddress }
    else if (typeof first === 'object') args[0] = { ...first, localAddress }
    else strays++
    return connect.apply(this, args)
  },
})

const emit = Server.prototype.emit as (this: Server, event: string, ...args: unknown[]) => boolean
Object.assign(Server.prototype, {
  emit(this: Server, event: string, ...args: unknown[]) {
    const [socket] = args
    // A socket that comes in belongs to no node by itself. What is done because of it is done by the node of the server.
    if (event === 'connection' && socket instanceof Socket) socket.emit = AsyncResource.bind(socket.emit.bind(socket))
    return emit.call(this, event, ...args)
  },
})
