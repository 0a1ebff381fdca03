/* The bounds of messages. A peer that goes beyond one is cut off; this node keeps its own messages within them. */

/** Chunks of a blob: 64 GiB in chunks of 1 MiB. The plan takes memory for each chunk of a blob when it hears of it. */
export const MAX_CHUNKS = 65_536

/** Bytes of the largest blob that peers share. */
export const MAX_BLOB_BYTES = 2 ** 36

/** Inner states of the largest blob: one after each quarter of a chunk but the last. */
export const MAX_STATES = 4 * MAX_CHUNKS - 1

/** Longest frame in bytes, as a link takes it. */
export const MAX_FRAME_BYTES = 2 ** 20

/** Numbers of blobs and questions are of 32 bits: a link that lives for years does not use them up. */
export const MAX_NUMBER = 2 ** 32 - 1

/** Blobs in the news or the wishes of one message. */
export const MAX_BLOBS = 512

/** Entries of all logs of one message. A run of a few bytes stands for up to 65,536 of them, and the receiver takes memory for each. */
export const MAX_LOG_ENTRIES = 2 * MAX_CHUNKS

/**
 * The same for all messages of a frame: it is read at once, and takes some 2 ms for each 65,536. Less would refuse the first words
 * of a node that shares blobs of many GiB; more would let a frame of a few hundred bytes stop this node for longer.
 */
export const MAX_LOG_ENTRIES_PER_FRAME = 16 * MAX_CHUNKS

/** Chunks that a wish names for one reason. There are as many on their way as a node has receiving places: a few. */
export const MAX_NAMED_CHUNKS = 256

/** The most that a byte can say of free places. Nodes have a few. */
export const MAX_BYTE = 255

/** Characters of a media type. RFC 6838 allows 127 on either side of the slash. */
export const MAX_MEDIA_TYPE_CHARACTERS = 255

/** Repositories that private content was found in; each costs the receiver a question to the registry. */
export const MAX_REPOSITORIES = 8

/** Bytes of `registry/repository`: 253 for a host name, and 255 for a repository. */
export const MAX_REPOSITORY_BYTES = 512

/** Characters of a PeerId; those of Ed25519 keys have 52. */
export const MAX_PEER_ID_CHARACTERS = 128

/** States in one message: just under 1 MiB, so that the frame stays below that, too. */
export const MAX_STATES_PER_MESSAGE = 30_000

/** Bytes of an Ed25519 signature (RFC 8032). */
export const SIGNATURE_BYTES = 64
