import { repositoryText } from '../../proxy/oci/name.ts'
import type { ListRequest, ListSource, PassedOnResponse } from '../../proxy/ports.ts'
import type { Upstream } from '../../proxy/upstream/types.ts'
import { toOciError } from './errors.ts'

/** Tag lists and referrers are upstream's to give; they are passed on. */
export function upstreamLists(upstream: Pick<Upstream, 'list'>): ListSource {
  return {
    list: async (request: ListRequest): Promise<PassedOnResponse> => {
      try {
        return await upstream.list(request)
      } catch (error) {
        if (request.signal.aborted) throw error
        const repository = repositoryText(request.repository)
        throw toOciError(error, 'repository', `${request.resource} of ${repository}`)
      }
    },
  }
}
