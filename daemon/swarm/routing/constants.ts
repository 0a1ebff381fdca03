/**
 * Carries requests from node to node to the one that is nearest to a key, or to a peer, on one stream for each pair of connected peers,
 * which stays open. In a large swarm a node so reaches any other without a connection of its own.
 */
export const ROUTE_PROTOCOL = '/layerd/route/1.0.0'

/** Streams that a peer may have open to us: one, one that crossed ours, and the one that replaces it. */
export const MAX_ROUTE_STREAMS = 3

/** Until a stream stands, in ms. */
export const OPEN_TIMEOUT_MS = 3_000

/*
 * Numbers that tune were halved and doubled in a simulation of positions: 200 nodes with 40 connections each, of which a tenth is replaced
 * in a minute. The result hangs on OWN_SHARE alone. With each of NEAR_SHARE, MAX_NEAR, LEAST_CONTACTS, NEAR_ASKED, MAX_LOOKUPS, ROUND_MS and
 * REST_MS, requests ended at the nearest node within 2.0 to 2.1 steps, and dials differed by a tenth at most. A NEAR_SHARE of 0.6 sent one
 * request of 4,000 to a wrong node, just after a node had gone.
 */

/** The nearest peers that a node keeps, as a part of all connections that it may have. */
export const NEAR_SHARE = 0.3

/** The nearest peers that a node keeps, at most: kad-dht's k. */
export const MAX_NEAR = 20

/**
 * Connections that a node looks for by itself, as a part of all that it may have: the nearest peers, and contacts. The rest is for
 * transfers, for peers that want this node, and for those that are new. With half of it a node has 26 peers instead of 33, makes a third
 * fewer dials, and requests take 2.2 steps instead of 2.0. With all of it, dials are twice as many, and seven times as many peers are left.
 */
export const OWN_SHARE = 0.75

/** Contacts in each bucket at least. With one, each node that leaves would cut a path until it is replaced. */
export const LEAST_CONTACTS = 2

/** A connection is judged after this time, in ms: until then hellos are said. */
export const NEW_MS = 3_000

/** New connections may go beyond the bound by this factor. */
export const NEW_ROOM = 1.5

/** A peer that was left, or has left this node, for lack of room is not dialled for this long, in ms. */
export const REST_MS = 120_000

/** Peers of which that is remembered; the oldest are forgotten. */
export const MAX_RESTING = 4_096

/** A swarm counts as larger than this node's connections for this long after there was no room last, in ms. */
export const LARGE_MS = 300_000

/** How often a node looks whether it knows its nearest, in ms. */
export const ROUND_MS = 30_000

/** The same after it has lost a peer that it needs, or has just found out that the swarm is large. */
export const SOON_MS = 1_000

/** Buckets that are looked up in one round. */
export const MAX_LOOKUPS = 4

/** Near peers that are asked in one round whom they know near this node. */
export const NEAR_ASKED = 4

/** A dial of one round is given up after this time, in ms. */
export const DIAL_MS = 5_000

/** Dials of a round at a time. */
export const PARALLEL_DIALS = 4

/** Steps of a request. In a swarm of a million nodes it takes some 8. */
export const MAX_HOPS = 16

/** Requests of one peer, its own and others', that wait for an answer here. More are refused. */
export const MAX_UNDER_WAY = 256

/** Time goes in ticks, in ms. A turn of the event loop that takes long counts as one. */
export const TICK_MS = 250

/** A request that is not answered after this many ticks is given up by its origin; each step on its way does so a tick earlier. */
export const DEADLINE_TICKS = 8

/** A peer from which nothing comes for this many ticks, while a request waits for it, is passed by. */
export const SILENT_TICKS = 3

/** Silence counts this many ticks at most. Where nothing waits any more, it goes back as fast as it grew: then the peer is asked again. */
export const MOST_TICKS = 16

/** A request without an answer for this long is sent another way as well, in ms. */
export const SECOND_WAY_MS = 700

/** Peers that one answer names. */
export const MAX_PEERS = 24

/** Time of this node that requests from one peer may take at once, in ms; the same holds for what is passed on to one peer. */
export const LOAD_BURST_MS = 1_500

/** The same for each second besides: a tenth of a core. */
export const LOAD_MS_PER_SECOND = 100

/** Peers of which that is remembered; the ones used longest ago are forgotten. */
export const MAX_LOADS = 8_192

/** A request that is read and passed on, in ms; rounded up from what was measured on one slow core, as are the next three. */
export const PASS_COST = 0.2

/** Each KiB of it, in ms. */
export const PASS_KILOBYTE_COST = 0.1

/** A request that ends here, in ms besides: a signature is checked, and the nearest peers are looked for. */
export const TAKE_COST = 0.5

/** Each KiB of it, in ms: 32 keys are written, or records of ten blobs are read. */
export const TAKE_KILOBYTE_COST = 1

/** New origins that one peer may bring at once: a fleet that pulls an image speaks of itself within a second. */
export const NEW_ORIGINS = 512

/** The same for each second besides. */
export const NEW_ORIGINS_PER_SECOND = 4

/** Providers that one answer names. */
export const MAX_PROVIDERS = 20

/** Addresses of a peer that are told, and the characters of one. */
export const MAX_ADDRESSES = 8
export const MAX_ADDRESS_CHARACTERS = 256

/** Characters of a PeerId; those of Ed25519 keys have 52. */
export const MAX_PEER_ID_CHARACTERS = 128

/** Keys of one announcement. */
export const MAX_KEYS = 256

/** Keys of the first announcement of several: what goes to other nodes has to be sent again. */
export const FIRST_KEYS = 16

/**
 * Nodes that keep a record: the nearest one, and the next ones. Where a tenth of them goes before the record is told again, one record of
 * 1,000 is lost with three copies, one of ten with one, and one of a million with six.
 */
export const COPIES = 3

/** Peers to which the nearest node passes an announcement on: the next nearest to any of its keys. */
export const MAX_PASSED_ON = 4

/** The next nearest that are asked where the nearest node has no record. */
export const NEXT_ASKED = 3

/** How long they are waited for, in ms. */
export const NEXT_MS = 400

/** Peers whose last numbers and whose keys are remembered. Above that, whoever brought the most loses the one heard of longest ago. */
export const MAX_ORIGINS = 4_096

/** Records are told again before this part of the nodes that keep them has probably gone. */
export const GONE_SHARE = 0.1

/** Records are not told again sooner than this, in ms. */
export const SHORTEST_REFRESH_MS = 60_000

/** Losses of peers are counted over this time, in ms. */
export const LOSSES_MS = 600_000

/** Blobs whose announcements are sorted together. */
export const MAX_SORTED = 512

/** Pauses after an announcement that reached nobody, in ms, doubled each time. */
export const FIRST_RETRY_MS = 500
export const LONGEST_RETRY_MS = 60_000

/** A peer is in use while something of a blob has moved within this time, in ms. */
export const USE_MS = 10_000

/** A peer that is left may take this long to hear of it, and the connection to end, in ms. */
export const LEAVE_MS = 1_000

/** How long this node's addresses are taken for what they were, in ms. */
export const OWN_ADDRESSES_MS = 5_000
