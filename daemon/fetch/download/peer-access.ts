import { repositoryText } from '../../../proxy/oci/name.ts'
import type { Access } from '../../../proxy/upstream/types.ts'
import type { BlobFacts } from '../../swarm/ports.ts'
import type { Attempt } from './context.ts'

/** Whether what peers have may be used for those who asked for it here. */
export class PeerAccess {
  readonly #attempt: Attempt
  /** What was answered, by whether the blob is known to be in the repository: once is enough, however many peers there are. */
  readonly #answers = new Map<boolean, Promise<Access | undefined>>()

  constructor(attempt: Attempt) {
    this.#attempt = attempt
  }

  /**
   * @returns whether anybody may have it
   * @throws {Error} where upstream does not confirm that the asker may, or no honest peer would say that
   */
  async check({ access, repositories }: BlobFacts): Promise<boolean> {
    if (access === 'public') return true
    const { tools, request } = this.#attempt
    if (!tools.isClosed) throw new Error('private content does not leave a node in an open swarm')
    const repository = repositoryText(request.repository)
    const isKnown = repositories.includes(repository)
    const answer = this.#answers.get(isKnown) ?? tools.access.check(request, isKnown)
    this.#answers.set(isKnown, answer)
    const granted = await answer
    if (granted === undefined || granted === 'foreign')
      throw new Error(`upstream did not confirm that ${repository} may be read`)
    return granted === 'public'
  }
}
