import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { type Answer, AUTHORITATIVE_ANSWER, decode, encode } from 'dns-packet'
import type { PeerId } from '../peer-id.ts'
import { ANSWER_TTL_SECONDS, MAX_ADDRESSES, MAX_MESSAGE_BYTES, MAX_TEXT_BYTES, MAX_TOLD, SERVICE } from './constants.ts'

/** What came by multicast: a question for all nodes, or what some have answered. */
export type Message =
  | { readonly kind: 'query' }
  /** Peers with their addresses as text: most answers are of peers that are connected, and are read no further. */
  | { readonly kind: 'answer'; readonly peers: ReadonlyMap<PeerId, readonly string[]> }

/** What stands before a multiaddr in a TXT record. */
const PREFIX = 'dnsaddr='

/** The place and the PeerId of such a record. */
const addressPattern = /^dnsaddr=(.+)\/p2p\/([^/]+)/

/** Asks all nodes for their addresses, as libp2p's multicast DNS does: https://github.com/libp2p/specs/blob/master/discovery/mdns.md */
export function encodeQuery(): Uint8Array {
  return encode({ type: 'query', questions: [{ name: SERVICE, type: 'PTR' }] })
}

/**
 * Tells a node's addresses.
 * @param name of the node, a DNS label
 * @param addresses multiaddrs with the node's PeerId, the most useful first: those at the end that make the message longer than
 *   {@link MAX_MESSAGE_BYTES} are left out
 */
export function encodeAnswer(name: string, addresses: readonly string[]): Uint8Array {
  const instance = `${name}.${SERVICE}`
  const common = { class: 'IN', ttl: ANSWER_TTL_SECONDS } as const
  const told = addresses.map((address) => PREFIX + address).filter((text) => text.length <= MAX_TEXT_BYTES)
  const message = (count: number) => {
    const texts = told.slice(0, count).map((data) => ({ name: instance, type: 'TXT', data }))
    const answers = [{ name: SERVICE, type: 'PTR', data: instance }, ...texts].map((one) => ({ ...one, ...common }))
    return encode({ type: 'response', flags: AUTHORITATIVE_ANSWER, answers: answers as Answer[] })
  }
  let count = Math.min(told.length, MAX_TOLD)
  while (count > 1 && message(count).length > MAX_MESSAGE_BYTES) count--
  return message(count)
}

/** Reads a packet; undefined where it is none of layerd's. @throws {Error} where it is no DNS message */
export function decodeMessage(bytes: Buffer): Message | undefined {
  const { type, questions = [], answers = [], additionals = [] } = decode(bytes)
  if (type === 'query') return questions.some(({ name }) => name === SERVICE) ? { kind: 'query' } : undefined
  if (!answers.some((answer) => answer.type === 'PTR' && answer.name === SERVICE)) return undefined
  const texts = [...answers, ...additionals].flatMap((answer) =>
    answer.type === 'TXT' && answer.name.endsWith(`.${SERVICE}`) ? [answer.data].flat().map(String) : [],
  )
  const peers = new Map<PeerId, string[]>()
  for (const text of texts.slice(0, MAX_ADDRESSES)) {
    const [, address, peer] = addressPattern.exec(text) ?? []
    if (address === undefined || peer === undefined) continue
    peers.set(peer, [...(peers.get(peer) ?? []), address])
  }
  return { kind: 'answer', peers }
}

/** Reads the addresses of a peer; those of a kind that a later version has are left out. */
export function readAddresses(texts: readonly string[]): Multiaddr[] {
  return texts.flatMap((text) => {
    try {
      return [multiaddr(text)]
    } catch {
      return []
    }
  })
}
