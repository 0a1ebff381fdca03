/** Blobs that wait to be announced, of either kind; what falls out is announced with the next round over all that is held. */
export const MAX_QUEUED = 65_536

/** Own records written together; everything else waits for about 6 ms meanwhile. */
export const MAX_WRITTEN = 512

/** Background announcing takes one part of the time in this many: a tenth of a core at most. */
export const BACKGROUND_SHARE = 10

/** Longest pause of background announcing, for when a dead peer made one slow without costing CPU. */
export const LONGEST_PAUSE_MS = 1000

/** Records live for 48 h; each is announced four times in that time. */
export const REFRESH_MS = 12 * 3600_000

/** The answer of a node that is not connected is waited for this long, in ms. */
export const ROUTED_MS = 3_000

/** A peer that does not have a blob which it announced is not named again for it for this long: records may outlive blobs. */
export const ABSENT_MS = 30_000

/** A peer that failed is named last for this long. */
export const FAILED_MS = 20_000

/** Records of one key that are read to choose from; they stay for 48 h after their peer is gone. */
export const MAX_RECORDS_READ = 256

/** kad-dht's validity of provider records. */
export const RECORD_LIFETIME_MS = 48 * 3600_000

/** A record that is younger is not written again: half of the time between two rounds. */
export const RENEW_AFTER_MS = REFRESH_MS / 2

/**
 * Records that one peer may place here, and all together: 130 bytes each on disk, and 25 us of each of kad-dht's hourly looks
 * at all of them. A blob's records go to 20 peers, so a node has 20 times as many as its peers have blobs on average.
 */
export const MAX_RECORDS_OF_PEER = 100_000
export const MAX_RECORDS = 500_000

/** Records are counted again where they seem too many, since kad-dht drops expired ones: not more often than this. */
export const RECOUNT_MS = 10 * 60_000

/** Names of records that are read at a time. */
export const SCAN_KEYS = 1024

/** Bounds of what is remembered of peers. */
export const MAX_REMEMBERED = 8192

/** Each of the two steps of taking a blob back; together less than a second. */
export const WITHDRAW_MS = 450
