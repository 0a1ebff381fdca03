/** Found only by other layerds, not by every libp2p application in the room. */
export const SERVICE = '_layerd._udp.local'

/** Multicast DNS, RFC 6762. */
export const MDNS_PORT = 5353
export const GROUPS = { 4: '224.0.0.251', 6: 'ff02::fb' } as const

/** The longest packet, in bytes: RFC 6762, section 17. */
export const MAX_PACKET_BYTES = 9_000

/** Seconds that an answer counts; libp2p's own multicast DNS says the same. */
export const ANSWER_TTL_SECONDS = 120

/** How often peers are asked for, in ms. */
export const QUERY_INTERVAL_MS = 10_000

/**
 * After a start, and when an interface has come, this many questions follow each other fast: an IPv6 address can not be used for
 * its first second or two, and a switch may not pass on what comes first.
 */
export const FAST_QUERIES = 4

/** The pause between two of those, in ms. */
export const FAST_QUERY_INTERVAL_MS = 1000

/** Least time between two answers in ms (RFC 6762, 6): all nodes of a network ask, and everyone hears each answer. */
export const ANSWER_INTERVAL_MS = 1000

/** How long an interface fails until the log says so, in ms: longer than a new IPv6 address needs until it can be used. */
export const FAILING_LOG_MS = 3000

/** An answer names no more addresses than fit into a packet that every IPv6 network passes on whole. */
export const MAX_MESSAGE_BYTES = 1232

/** More addresses than a message of that length can hold. */
export const MAX_TOLD = 16

/** What a text record can hold. */
export const MAX_TEXT_BYTES = 255

/** Interfaces of one family that are spoken on; a machine with more has them for containers. */
export const MAX_INTERFACES = 64

/** Addresses of a peer that are taken from one answer. */
export const MAX_ADDRESSES = 32
