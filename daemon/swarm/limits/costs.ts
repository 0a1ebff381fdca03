import { ANNOUNCE_PROTOCOL } from '../announce/constants.ts'
import { SHARE_PROTOCOL } from '../coordination/constants.ts'
import { FIND_PROTOCOL } from '../find/constants.ts'
import { HELLO_PROTOCOL } from '../hello/constants.ts'
import { NAMES_PROTOCOL } from '../names/constants.ts'
import { ROUTE_PROTOCOL } from '../routing/constants.ts'

/** What peers make this node do, in ms of its time. Rounded up from what was measured on one slow core. */
export interface StreamCost {
  /** Opening a stream. */
  readonly stream: number
  /** Each 1024 bytes that come over it. */
  readonly kilobyte: number
}

/**
 * Streams of libp2p by protocol.
 *
 * - hello: the places that it names are tried, and neighbours are told.
 * - find: a question has 36 bytes, and reads the database.
 * - announce: a message has 16 KiB for 512 keys, each of which is looked up and written.
 * - share: a message may name 128 blobs in 12 KiB, and for each of them records are read.
 * - names: a record has 300 bytes, and its signature is checked, which takes 0.15 ms.
 * - route: only reading is counted here. What is asked for may come from others, and routing/load.ts bounds it without a ban.
 */
const STREAM_COSTS: ReadonlyMap<string, StreamCost> = new Map([
  [HELLO_PROTOCOL, { stream: 20, kilobyte: 5 }],
  [FIND_PROTOCOL, { stream: 2, kilobyte: 2.5 }],
  [ANNOUNCE_PROTOCOL, { stream: 2, kilobyte: 1 }],
  [SHARE_PROTOCOL, { stream: 2, kilobyte: 2 }],
  [NAMES_PROTOCOL, { stream: 2, kilobyte: 0.6 }],
  [ROUTE_PROTOCOL, { stream: 2, kilobyte: 0.02 }],
])

/** All others: kad-dht, identify, ping. A request of theirs has a stream for itself, and writes to the peer store. */
const OTHER_STREAM: StreamCost = { stream: 3, kilobyte: 1 }

export function streamCost(protocol: string): StreamCost {
  return STREAM_COSTS.get(protocol) ?? OTHER_STREAM
}

/** A stream that is opened, whatever it is for: yamux, and finding out the protocol. */
export const NEW_STREAM_COST = 0.5

/** What comes over a libp2p connection, each piece and each KiB: decryption, and cutting it into frames. */
export const PIECE_COST = 0.05
export const KILOBYTE_COST = 0.01

/** A frame on a link. What its messages cost is counted where they are read (share/partner.ts). */
export const LINK_FRAME_COST = 0.02

/** What each part that moves earns: peers that exchange chunks send some 10 frames for each. */
export const PART_EARNS = 16 * LINK_FRAME_COST

/** A TLS connection to the transfer server. */
export const TRANSFER_CONNECTION_COST = 3

/** One that is refused because its peer has nothing left: it should wait. */
export const REFUSED_CONNECTION_COST = 30

/** A request to the transfer server: a blob or a tag is looked up. */
export const REQUEST_COST = 1

/** A message that breaks a protocol: a peer may do so twice. Nodes of the same version never do. */
export const FAULT_COST = 1_000
