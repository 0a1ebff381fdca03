export const HELLO_PROTOCOL = '/layerd/hello/1.0.0'

/** Version of what is spoken between peers once they know each other. Nodes of different versions move no blobs between them. */
export const HELLO_VERSION = 2

/** The first version, whose message is read as well, so that the log can say what the peer speaks. */
export const OLDEST_HELLO_VERSION = 1

/** Peers of another version that were logged; the oldest are forgotten. */
export const MAX_LOGGED = 1024

/** The message has about 120 bytes; later versions may add fields. */
export const MAX_HELLO_BYTES = 1024

/** One round trip on a connection that stands already, with room for a busy peer. */
export const HELLO_TIMEOUT_MS = 5000

/** A peer that is still starting may refuse the first one. */
export const HELLO_ATTEMPTS = 3

/** Between attempts. */
export const HELLO_RETRY_MS = 250

/** Connections that introduce themselves at the same time on one libp2p connection: one, and a repeated one. */
export const MAX_HELLO_STREAMS = 2

/** By this one a peer is told whether its transfer port can be reached. */
export const FINDING_PROTOCOL = '/layerd/finding/1.0.0'

/** The message has about 150 bytes. */
export const MAX_FINDING_BYTES = 1024

/** What a peer says of why it failed is cut off there. */
export const MAX_REASON_LENGTH = 200

/** Findings that a peer tells at the same time: it has one. */
export const MAX_FINDING_STREAMS = 2
