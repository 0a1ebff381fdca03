import { EventEmitter } from 'node:events'
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { limitConnections } from '../../proxy/connections.ts'

/** What the limits see of a connection. */
class Connection extends EventEmitter {
  readonly remoteAddress: string
  isOpen = true

  constructor(remoteAddress: string) {
    super()
    this.remoteAddress = remoteAddress
  }

  destroy(): void {
    if (this.isOpen) setImmediate(() => this.emit('close'))
    this.isOpen = false
  }
}

function start() {
  const server = new EventEmitter()
  const busy = new Set<unknown>()
  limitConnections(server as Server, (socket: Socket) => busy.has(socket))
  return {
    busy,
    connect(address: string, count = 1): Connection[] {
      const made = Array.from({ length: count }, () => new Connection(address))
      for (const connection of made) server.emit('connection', connection)
      return made
    },
  }
}

const open = (all: readonly Connection[]) => all.filter(({ isOpen }) => isOpen).length

it('a client has so many connections, with all addresses of its network', () => {
  const { connect } = start()
  const made = [...connect('2001:db8::1', 512), ...connect('2001:db8::2', 512)]
  expect(open(made)).toBe(1_024)
  expect(open(connect('2001:db8::3', 5))).toBe(0)
  expect(open(connect('2001:db8:0:1::3', 5))).toBe(5)
})

it('clients that have many lose some for one that comes later, the idle ones first; this machine always gets in', async () => {
  const { connect, busy } = start()
  const many = [1, 2, 3, 4].flatMap((last) => connect(`192.0.2.${last}`, 1_024))
  const answered = many.filter((_, index) => index % 1_024 < 200)
  for (const connection of answered) busy.add(connection)
  expect(open(many)).toBe(4_096)
  expect(open([...connect('127.0.0.1', 10), ...connect('::1', 10)])).toBe(20)
  expect(open(many)).toBe(4_096)
  const late = connect('192.0.2.5', 900)
  const [share, left] = [open(late), open(many)]
  expect(share).toBeGreaterThanOrEqual(819)
  expect(share + left).toBe(4_096)
  expect(open(answered)).toBe(800)
  // Nor when their closing shows.
  await new Promise((resolve) => setImmediate(resolve))
  expect(open([...late, ...many])).toBe(4_096)
  expect(open(connect('192.0.2.6'))).toBe(1)
  expect(open([...late, ...many])).toBe(4_095)
})
