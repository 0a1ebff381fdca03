import type { BlobRecord } from './metadata.ts'

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
