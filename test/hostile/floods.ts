import { randomBytes } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Connection, Stream } from '@libp2p/interface'
import { ANNOUNCE_PROTOCOL, MAX_KEYS } from '../../daemon/swarm/announce/constants.ts'
import { encodeAnnouncement } from '../../daemon/swarm/announce/message.ts'
import { frame } from '../../daemon/swarm/conversation.ts'
import { SHARE_PROTOCOL } from '../../daemon/swarm/coordination/constants.ts'
import { FIND_PROTOCOL } from '../../daemon/swarm/find/constants.ts'
import { encodeRequest } from '../../daemon/swarm/find/message.ts'
import { HELLO_PROTOCOL } from '../../daemon/swarm/hello/constants.ts'
import { encodeHello } from '../../daemon/swarm/hello/message.ts'
import { NAMES_PROTOCOL } from '../../daemon/swarm/names/constants.ts'
import { encodeMessage } from '../../daemon/swarm/names/message.ts'
import { statement } from '../fixtures/names.ts'

/** What is sent over streams of a protocol, which are opened again when they have ended. */
interface Flood {
  readonly what: string
  readonly protocol: string
  readonly message: () => Uint8Array
  /** Messages of one stream. */
  readonly count: number
}

const someDigest = () => `sha256:${randomBytes(32).toString('hex')}`
const wants = () =>
  frame({
    kind: 'wants',
    wants: Array.from({ length: 128 }, () => ({ blob: someDigest(), brought: 0, wish: 'soon', sought: 16 })),
  })
const names = () => {
  const publisher = '12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X'
  const name = { ...statement(), publisher, signature: randomBytes(64) }
  return frame(encodeMessage({ names: Array.from({ length: 64 }, (_, tag) => ({ ...name, reference: `${tag}` })) }))
}
const keys = () => Array.from({ length: MAX_KEYS }, () => randomBytes(32))

export const floods: readonly Flood[] = [
  {
    what: 'questions',
    protocol: FIND_PROTOCOL,
    message: () => encodeRequest({ id: 1, key: randomBytes(32) }),
    count: 10_000,
  },
  {
    what: 'announcements',
    protocol: ANNOUNCE_PROTOCOL,
    message: () => encodeAnnouncement({ id: 1, kind: 'place', keys: keys() }),
    count: 10_000,
  },
  { what: 'wants', protocol: SHARE_PROTOCOL, message: wants, count: 10_000 },
  {
    what: 'hellos',
    protocol: HELLO_PROTOCOL,
    message: () => encodeHello({ port: 1, fingerprint: '0'.repeat(64) }),
    count: 1,
  },
  { what: 'DHT queries', protocol: '/layerd/kad/1.0.0', message: () => Buffer.from([4, 8, 4, 80, 0]), count: 1 },
  { what: 'names', protocol: NAMES_PROTOCOL, message: names, count: 10_000 },
  { what: 'pings', protocol: '/ipfs/ping/1.0.0', message: () => randomBytes(32), count: 10_000 },
  { what: 'streams', protocol: '/nobody/speaks/this', message: () => Buffer.alloc(0), count: 1 },
]

/** Floods over a connection until it ends. */
export async function flood(connection: Connection, { protocol, message, count }: Flood): Promise<void> {
  const one = async () => {
    while (connection.status === 'open') {
      await stream().catch(() => {})
      await nextTurn()
    }
  }
  const stream = async () => {
    const opened: Stream = await connection.newStream(protocol, { signal: AbortSignal.timeout(5_000) })
    opened.addEventListener('message', () => {})
    for (let sent = 0; sent < count && opened.status === 'open'; sent++) {
      const bytes = message()
      if (bytes.length > 0 && !opened.send(bytes)) {
        await opened.onDrain({ signal: AbortSignal.timeout(1_000) }).catch(() => {})
      }
      if (sent % 64 === 63) await nextTurn()
    }
    if (count === 1) opened.abort(new Error('the next one'))
  }
  await Promise.all(Array.from({ length: 8 }, one))
}
