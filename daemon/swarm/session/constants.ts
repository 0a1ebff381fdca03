/** Chunks ahead of what is needed next from which the rarest is taken first: order costs time, far order costs clients. */
export const WINDOW_CHUNKS = 32

/**
 * A chunk that this part of the peers has is taken in order, as clients read: the client of a node with a slow line among fast
 * ones waits for the chunk that is needed next, and not for all of the window.
 */
export const PLENTY_PART = 0.5

/** Chunks that may be under way to this session at the same time. */
export const MAX_CHUNKS_UNDER_WAY = 24

/** Requests under way at the same time: each has a part of the downlink, so more of them make each chunk later. */
export const MAX_REQUESTS = 8

/** The same of all sessions of a node together; and how many each may have all the same, where others have them all. */
export const NODE_REQUESTS = 10
export const LEAST_REQUESTS = 2

/** Requests in addition, for what a client waits for. */
export const URGENT_REQUESTS = 2

/** Requests to one peer at the same time: the second one hides the round trip. */
export const REQUESTS_PER_PEER = 2

/** A request asks for as many chunks in a row as its peer sends in this time, in ms, up to so many. */
export const RUN_MS = 100
export const MAX_RUN = 12

/** A peer that was busy is asked again after this long, in ms, doubled each time up to the limit. */
export const BUSY_PAUSE_MS = 50
export const BUSY_PAUSE_LIMIT_MS = 1_000

/** A peer that failed rests for this long, in ms, doubled each time; after so many failures it is given up. */
export const FAILURE_PAUSE_MS = 1_000
export const MAX_FAILURES = 4

/** Peers that have left of which it is remembered how they were. */
export const MAX_GONE = 256

/** A request without a byte for this long, in ms: its chunks may be asked for elsewhere as well. */
export const STALL_MS = 1_500

/** A request without a byte for this long, in ms, is given up. */
export const DEAD_MS = 6_000

/** A chunk takes too long when it takes so many times what chunks take at present, and at least so many ms. */
export const SLOW_FACTOR = 3
export const SLOW_MS = 750

/** At the end of a blob what is still under way may be asked for a second time. */
export const COPIES = 2

/** Peers slower than the fastest by this factor are used only for what nobody else has. */
export const LAGGARD_FACTOR = 6

/** Weight of the newest measurement in a peer's rate. */
export const RATE_WEIGHT = 0.3

/**
 * Chunks sent at the same time above which no more are offered; and so many more as are sent in this time, in ms, at the rate of
 * about the last so many ms. Counted from one chunk to the next, that rate was endless where many arrived at the same moment. It is
 * peers who tell what has arrived: more than a line of 16 Gbit/s has in that time is not believed.
 */
export const MIN_UPLOADS = 9
export const UPLOAD_AHEAD_MS = 60
export const UPLOAD_RATE_MS = 2_000
export const MAX_UPLOADS_AHEAD = 120

/** Uploads of a blob to one peer that count at the same time: as many as a session may ask of a peer. */
export const MAX_UPLOADS_OF_PEER = REQUESTS_PER_PEER + URGENT_REQUESTS

/** As many as this node holds of a blob, but at least so many, where that is fewer: each is there sooner and can be passed on. */
export const SCARCE_UPLOADS = 4

/** The most where receivers are slow. */
export const MAX_UPLOADS = 24

/** Peers of which it is remembered when they were offered something, and offers that nobody asked for. */
export const MAX_OFFERED = 4096

/** Offers that a peer may leave without asking, of all blobs: with 128, honest ones that a slow node offers much got less (`test/sim`). */
export const MAX_UNASKED = 512

/** What one is offered that has left so many takes no room from other blobs. */
export const MANY_UNASKED = 32

/** So many requests more or less do not tell which peer's line has more room: what is told of it is late. */
export const REQUESTS_ALIKE = 3

/**
 * Checkpoints of chunks that came from upstream are told to all after this long, in ms, and longer where the peers are many, who take
 * so many ms each: nobody can use a chunk before, whoever has it. As chunks are offered to one peer after the other, sixteen nodes at
 * 6 Mbit/s used half of their lines for the first 80 s without that.
 */
export const LIST_MS = 100
export const LIST_MS_EACH = 1

/** So many more to an only peer, which then needs fewer messages. */
export const ONLY_PEER_OFFERS = 16

/**
 * The part of what is free that is kept, from a blob that still arrives here, for what other blobs' peers were offered and have not asked
 * for. With all, a layer waited for 93 s at sixteen nodes of 12 Mbit/s, with half 18 s; with half for complete blobs, six layers together
 * offered three times what was free, and took 1.29 of the least time instead of 1.20 (`test/sim`).
 */
export const OTHERS_PART = 0.5

/**
 * Who was told of a chunk and did not ask for it within so many times what that takes usually, within these limits, in ms, has other
 * things to do; and the weight of the newest one in what it takes. With 40 ms for all, as many again were told before the first ones'
 * questions had come through a full line, and all of them got their chunk at the same time, and late.
 */
export const ASK_TIMES = 1.25
export const ASK_MS = 40
export const ASK_LIMIT_MS = 2_000
export const ASK_WEIGHT = 0.1

/** A chunk that no peer has is offered to another one after four times what that takes usually, within these limits, in ms. */
export const OFFER_MS = 500
export const OFFER_LIMIT_MS = 30_000

/**
 * So many times as long where a peer has it by now, and this node still gets others that nobody has: with 1 a ninth of what the holder
 * of the claim sent was there already, and its uplink was what sixteen nodes waited for.
 */
export const SPREAD_TIMES = 2

/**
 * The limit where it has not even been asked for: its peer may be dead, and others must have it before they give up; and where nothing
 * more of the blob arrives, so that all wait for its last chunks, and that peer's line may just be a slow one.
 */
export const OFFER_UNASKED_MS = 8_000
export const OFFER_LAST_MS = 1_000

/**
 * A chunk that no other peer has is offered to another one as well, and before all others, when each peer could have got so many
 * others since, at least so many were delivered, and none to who was offered it. With 1 equal peers were taken for slow ones.
 */
export const OVERTAKEN_TIMES = 2
export const MIN_OVERTAKEN = 8

/** A peer that has everything is not waited for to offer it when nothing arrived for this long at least, in ms. */
export const SOURCE_MS = 3_000

/** On a slow line nothing has to arrive for so many times what a chunk takes before it means anything. */
export const SILENT_CHUNKS = 4

/** Weight of the newest chunk in what chunks take; the most that one counts, and the first one, in ms; and how it is forgotten. */
export const PACE_WEIGHT = 0.1
export const CHUNK_LIMIT_MS = 5_000
export const FIRST_CHUNK_LIMIT_MS = 1_000
export const PACE_HALF_LIFE_MS = 60_000

/** How much comes is looked at over this time up to twice as long, in ms; when nothing came for so long, it is not known. */
export const RATE_WINDOW_MS = 2_000

/**
 * Where so many requests share a line, or fewer have this part of what so many had, chunks take too long for so many times what they
 * would if all requests got the same, and nothing comes for this part of it; not longer than so many ms, as the transfer gives up soon
 * after.
 */
export const SHARED_REQUESTS = 4
export const FULL_PART = 0.8
export const SHARE_SLOW = 1.5
export const SHARE_STALL = 0.25
export const SHARE_DEAD = 0.5
export const SILENCE_LIMIT_MS = 9_000

/** What chunks take below which, in ms, nothing is known of it any more. */
export const FORGOTTEN_MS = 1

/** How much has to be sent, in how many ms at least, to tell a rate; the best one is forgotten slowly, as networks change. */
export const GAUGE_BYTES = 16 * 2 ** 20
export const GAUGE_MS = 100
export const PEAK_HALF_LIFE_MS = 60_000

/** The part of the most that is sent from which the uplink counts as full. */
export const USED_PART = 0.9
