import type { PartialAccess } from '../../store/partial-state.ts'
import { MAX_REPOSITORIES_HEARD } from './constants.ts'
import type { DownloadFacts } from './context.ts'

/** What the sources of one attempt have said of the blob, taken together. */
export class KnownFacts {
  #facts: DownloadFacts | undefined
  #left: PartialAccess | undefined
  #isGranted = false

  /** Undefined until a source has answered. */
  get facts(): DownloadFacts | undefined {
    return this.#facts
  }

  /**
   * Whether upstream let the one who asked first have the blob. A peer that says that anybody may have it is no such thing:
   * what an earlier fetch has left may be private all the same.
   */
  get isGranted(): boolean {
    return this.#isGranted
  }

  /** An earlier fetch has left bytes: who may have those may have what is fetched now. */
  resume(left: PartialAccess | undefined): void {
    this.#left = left
  }

  /** A source has answered, whose content the one who asked first may have. @param isUpstream whether it is upstream */
  add(facts: DownloadFacts, isUpstream: boolean): void {
    this.#isGranted ||= isUpstream || !facts.public
    const before = this.#facts
    const known = before ?? this.#left
    this.#facts = {
      ...(before ?? facts),
      public: facts.public && (known?.public ?? true),
      mediaType: before?.mediaType ?? facts.mediaType,
      repositories: [...new Set([...(known?.repositories ?? []), ...facts.repositories])].slice(
        0,
        MAX_REPOSITORIES_HEARD,
      ),
    }
  }

  /** For the next process. @param repository the one that the blob is fetched for */
  access(repository: string): PartialAccess {
    const { public: isPublic = false, repositories = [] } = this.#facts ?? {}
    return { public: isPublic, repositories: [...new Set([...repositories, ...(this.#isGranted ? [repository] : [])])] }
  }
}
