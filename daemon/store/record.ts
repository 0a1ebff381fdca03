import type { Digest } from '../../proxy/oci/digest.ts'

/** What is known of a blob on disk. */
export interface BlobRecord {
  /** Bytes. */
  readonly size: number
  /** What its sender called it; not covered by the digest. */
  readonly mediaType?: string | undefined
  /** Whether anybody may have it, because an upstream gave it without credentials. */
  readonly public: boolean
  /** `registry/repository` that it was found in, most recent last. */
  readonly repositories: readonly string[]
  /** Those of which it is known that anybody may have it there; undefined in records of earlier versions. */
  readonly publicIn?: readonly string[] | undefined
  /** Whether it was pushed to this node: it is removed when its user deletes it, never for its room. */
  readonly kept?: boolean | undefined
  /** ms since the epoch. */
  readonly createdAt: number
  readonly lastAccess: number
}

/** What is known of a blob besides its bytes. */
export type BlobFacts = Pick<BlobRecord, 'mediaType' | 'public'> & { readonly repository: string }

export interface TagRecord {
  readonly digest: Digest
  readonly mediaType?: string | undefined
  readonly size?: number | undefined
  readonly public: boolean
  /** Who asked upstream: an identity of `daemon/fetch/access.ts`. */
  readonly identity: string
  /** When upstream last gave this digest for the tag, in ms since the epoch. */
  readonly confirmedAt: number
  /** Where another node has asked upstream: which one, when by its clock, and its signature in base64. */
  readonly heard?: { readonly signer: string; readonly at: number; readonly signature: string } | undefined
}

/** The same blob may be found in many repositories; the oldest ones are forgotten. */
const maxRepositoriesOfBlob = 16

/** What a record says of who may have a blob, and where it was found. */
type Places = Pick<BlobRecord, 'public' | 'repositories' | 'publicIn'>

/** What is known of a blob that comes to the store. */
export type PlacedFacts = Pick<BlobRecord, 'mediaType' | 'public' | 'kept'> & {
  /** Undefined for one that was pushed, which says nothing of any upstream's repository. */
  readonly repository: string | undefined
}

/** What is known of a blob after it was found in one more place. Lists in which nothing changes stay the same. */
export function placesAfter(before: Places | undefined, facts: Pick<PlacedFacts, 'public' | 'repository'>): Places {
  return {
    public: facts.public || before?.public === true,
    repositories: withOne(before?.repositories ?? [], facts.repository),
    // In a record that does not say it, it stays unknown until it is found out of one.
    publicIn: facts.public
      ? withOne(before?.publicIn ?? [], facts.repository)
      : before === undefined
        ? []
        : before.publicIn,
  }
}

function withOne(list: readonly string[], one: string | undefined): readonly string[] {
  return one === undefined || list.includes(one) ? list : [...list, one].slice(-maxRepositoriesOfBlob)
}
