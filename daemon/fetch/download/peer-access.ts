import { repositoryText } from '../../../proxy/oci/name.ts'
import type { Access } from '../../../proxy/upstream/types.ts'
import type { BlobFacts } from '../../swarm/ports.ts'
import { type FoundIn, foundIn } from '../access.ts'
import type { Attempt } from './context.ts'

/** Whether what peers have may be used for those who asked for it here. */
export class PeerAccess {
  readonly #attempt: Attempt
  /** What was answered, by where the blob was found: once is enough, however many peers there are. */
  readonly #answers = new Map<FoundIn, Promise<Access | undefined>>()

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
    const place = foundIn(request, repositories)
    const answer = this.#answers.get(place) ?? tools.access.check(request, place)
    this.#answers.set(place, answer)
    const granted = await answer
    if (granted === undefined || granted === 'foreign')
      throw new Error(`upstream did not confirm that ${repositoryText(request.repository)} may be read`)
    return granted === 'public'
  }
}
