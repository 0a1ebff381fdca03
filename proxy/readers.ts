import type { IncomingMessage } from 'node:http'
import { plainAddress } from './addresses.ts'
import { Gate } from './gate.ts'

/** Bodies that are sent at the same time. Each holds memory until its client takes it; more wait for their turn. */
const maxReaders = 512

/** Of those, for one client: a node opens a dozen for an image, and many nodes may be behind one address. */
const maxReadersOfOne = 128

interface Client {
  readonly gate: Gate
  /** Inside, or waiting. */
  count: number
}

/** Who is sent a body at present. The others wait in their order, and none of them takes more than its share. */
export class Readers {
  readonly #all = new Gate(maxReaders)
  readonly #clients = new Map<string, Client>()

  /** Whether somebody waits because others don't take what they asked for. */
  get isCrowded(): boolean {
    return this.#all.isFull || [...this.#clients.values()].some(({ gate }) => gate.isFull)
  }

  /**
   * Waits for a place.
   * @returns gives the place back
   * @throws the signal's reason
   */
  async enter(request: IncomingMessage, signal: AbortSignal): Promise<() => void> {
    const name = clientOf(request)
    const client = this.#clients.get(name) ?? { gate: new Gate(maxReadersOfOne), count: 0 }
    this.#clients.set(name, client)
    client.count++
    const forget = () => {
      client.count--
      if (client.count === 0) this.#clients.delete(name)
    }
    let leaveOwn = () => {}
    try {
      leaveOwn = await client.gate.enter(signal)
      const leaveAll = await this.#all.enter(signal)
      return () => {
        leaveAll()
        leaveOwn()
        forget()
      }
    } catch (error) {
      leaveOwn()
      forget()
      throw error
    }
  }
}

/** A client by its address. In IPv6 that is its network: a host has as many addresses as it likes (RFC 8981). */
function clientOf({ socket }: IncomingMessage): string {
  const address = plainAddress(socket.remoteAddress) ?? ''
  if (!address.includes(':')) return address
  const [head = '', tail = ''] = address.split('::')
  const parts = head.split(':').filter((part) => part !== '')
  const zeros = address.includes('::') ? 8 - parts.length - tail.split(':').filter((part) => part !== '').length : 0
  return [...parts, ...Array<string>(zeros).fill('0'), ...tail.split(':')].slice(0, 4).join(':')
}
