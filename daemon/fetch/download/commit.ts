import type { Assembly } from './assembly.ts'
import type { DownloadFacts, DownloadTools } from './context.ts'

/**
 * Puts a blob that is proven into the store, with its checkpoints. Where that can't be, those who wait get it from the file
 * all the same, though it is not kept.
 */
export async function commit(
  { partial, proven }: Assembly,
  facts: Partial<DownloadFacts> & { readonly repository: string },
  onUncached: DownloadTools['onUncached'],
): Promise<void> {
  const { mediaType, repository } = facts
  const checkpoints = proven?.encode()
  try {
    const kept = checkpoints === undefined || checkpoints.length === 0 ? undefined : checkpoints
    await partial.commit({ mediaType, public: facts.public ?? false, repository }, kept)
  } catch (error) {
    onUncached(partial.digest, error)
    await partial.discard()
  }
}
