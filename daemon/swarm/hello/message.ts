import type { Connection, Stream } from '@libp2p/interface'
import { z } from 'zod'
import { maxAnnounced } from '../../../config/scalars.ts'
import { sitePattern } from '../../../config/swarm-schema.ts'
import type { KnownPeer } from '../known-peers.ts'
import { type Place, parsePlace } from '../transfer/places.ts'
import { HELLO_VERSION, MAX_HELLO_BYTES, OLDEST_HELLO_VERSION } from './constants.ts'
import { readLine } from './line.ts'

/** What a node tells of its transfer server. */
export interface Hello {
  readonly port: number
  /** SHA-256 of the certificate in DER, lower-case hex. */
  readonly fingerprint: string
  /** Where the node is, as its operator calls it; undefined where that was not said. */
  readonly site?: string | undefined
  /** Where else its transfer server may be reached, as `host:port`. */
  readonly transfer?: readonly string[] | undefined
}

/** What a peer tells. */
export interface PeerHello extends Hello {
  readonly version: number
}

const schema = z.object({
  version: z.number().int().min(OLDEST_HELLO_VERSION),
  port: z.number().int().min(1).max(65535),
  fingerprint: z.string().regex(/^[0-9a-f]{64}$/),
  site: z.string().regex(sitePattern).optional(),
  // What a later version tells beyond that, or in another form, costs a peer no more than the place.
  transfer: z
    .array(z.unknown())
    .transform((list) => list.filter((one) => typeof one === 'string').slice(0, maxAnnounced))
    .optional(),
})

/** One line of JSON. */
export function encodeHello({ port, fingerprint, site, transfer = [] }: Hello): Uint8Array {
  const announced = transfer.length === 0 ? undefined : transfer
  const hello = { version: HELLO_VERSION, port, fingerprint, site, transfer: announced }
  return new TextEncoder().encode(`${JSON.stringify(hello)}\n`)
}

/** Reads the line, of any version; fields that are not known are left alone. @throws {Error} */
export function decodeHello(line: Uint8Array): PeerHello {
  return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line)))
}

/** Reads the hello that a peer sends. @throws {Error} where it is malformed, too long, or does not come before the signal's abort */
export async function readHello(stream: Stream, signal: AbortSignal): Promise<PeerHello> {
  return decodeHello(await readLine(stream, MAX_HELLO_BYTES, signal))
}

/** The places that a hello announces; those of a form that is not known are left out. */
export function announcedPlaces({ transfer = [] }: Hello): readonly Place[] {
  return transfer.map(parsePlace).filter((place) => place !== undefined)
}

const hostProtocols = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6'])

/** Joins a hello with the address that its connection stands on: the transfer server is at the same host. */
export function toKnownPeer(connection: Connection, hello: Hello): KnownPeer {
  const { port, fingerprint, site } = hello
  const host = connection.remoteAddr.getComponents().find(({ name }) => hostProtocols.has(name))?.value
  if (host === undefined) throw new Error(`the address ${connection.remoteAddr} names no host`)
  const announced = announcedPlaces(hello)
  return { peerId: connection.remotePeer.toString(), host, port, source: { host, port }, fingerprint, site, announced }
}
