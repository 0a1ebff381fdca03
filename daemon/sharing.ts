import type { Digest } from '../proxy/oci/digest.ts'
import { registryOf } from '../proxy/oci/name.ts'
import type { Rules } from './rules.ts'
import type { BlobStoreEvents } from './store/blob-store.ts'
import type { BlobRecord } from './store/metadata.ts'
import type { Swarm } from './swarm/ports.ts'

/** The record of a blob on disk as peers may know it; undefined where they may not have the blob. */
export type ToldToPeers = (record: BlobRecord, digest: Digest) => BlobRecord | undefined

/**
 * What of the store peers may have: in a closed swarm all, in an open one what is public in a repository that strangers may know.
 * By the rules only what was found in a repository that may be shared, with no word of the others. That content is public counts for
 * peers only where it is so in such a repository.
 *
 * What was pushed here is what the swarm may have: among strangers public, among members private, so that a member that is among strangers
 * later does not hand it on. An image is pushed with the layers below it. What a registry gave as private, or what may not be shared,
 * is not made more public by that.
 * @param isClosed whether only known peers are in the swarm
 * @param pushedTo repositories of this node's own registry that have content and are offered to peers, as `registry/repository`
 */
export function sharingPolicy(
  rules: Pick<Rules, 'sharesAll' | 'mayShare' | 'toStrangers' | 'isCalledPublic'>,
  isClosed: boolean,
  pushedTo: (digest: Digest) => readonly string[] = () => [],
): ToldToPeers {
  const found = foundPolicy(rules, isClosed)
  return (record, digest) => {
    const own = pushedTo(digest)
    const shown = found(record)
    const isCalledPublic = own.some((repository) => rules.isCalledPublic(repository))
    const isElsewhere = record.repositories.some((one) => registryOf(one) !== registryOf(own[0] ?? ''))
    const isHidden = shown === undefined && isElsewhere
    if (own.length === 0 || (isHidden && !isCalledPublic)) return shown
    const repositories = [...new Set([...(shown?.repositories ?? []), ...own])]
    return { ...record, public: isCalledPublic || !isClosed || shown?.public === true, repositories }
  }
}

/** The same of what is here because clients asked for it. */
function foundPolicy(
  rules: Pick<Rules, 'sharesAll' | 'mayShare' | 'toStrangers'>,
  isClosed: boolean,
): (record: BlobRecord) => BlobRecord | undefined {
  // What was only pushed here is offered as such, or not at all.
  const isOwn = ({ kept, repositories }: BlobRecord) => kept === true && repositories.length === 0
  if (isClosed && rules.sharesAll) return (record) => (isOwn(record) ? undefined : record)
  const mayTell = isClosed
    ? (repository: string) => rules.mayShare(repository)
    : (repository: string) => rules.toStrangers(repository) !== 'nothing'
  return (record) => {
    const repositories = record.repositories.filter(mayTell)
    if (repositories.length === 0) return undefined
    // An earlier version did not keep where it is public.
    const isSharedEverywhere = repositories.length === record.repositories.length
    const isPublic = record.publicIn?.some(mayTell) ?? (record.public && isSharedEverywhere)
    return isPublic || isClosed ? { ...record, public: isPublic, repositories } : undefined
  }
}

/** Tells peers of what comes to the store and goes from it. @param swarm undefined until it is there */
export function announcements(
  told: ToldToPeers,
  swarm: () => Pick<Swarm, 'advertise' | 'withdraw'> | undefined,
): BlobStoreEvents {
  const isTold = (record: BlobRecord | undefined, digest: Digest) =>
    record !== undefined && told(record, digest) !== undefined
  return {
    stored: (digest, record, before) => {
      if (isTold(record, digest) && !isTold(before, digest)) swarm()?.advertise(digest, true)
    },
    removing: async (digest, record) => {
      // All peers hear of what is taken back: whoever was never told of it is not told now.
      if (isTold(record, digest)) await swarm()?.withdraw(digest)
    },
  }
}
