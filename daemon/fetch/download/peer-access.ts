import { repositoryText } from '../../../proxy/oci/name.ts'
import type { BlobFacts } from '../../swarm/ports.ts'
import type { Attempt } from './context.ts'

/**
 * Whether what a peer has may be used for those who asked for it here.
 * @returns whether anybody may have it
 * @throws {Error} where upstream does not confirm that the asker may
 */
export async function mayBeUsed({ tools, request }: Attempt, facts: BlobFacts): Promise<boolean> {
  if (facts.access === 'public') return true
  const repository = repositoryText(request.repository)
  const granted = await tools.access.check(request, facts.repositories.includes(repository))
  if (granted === undefined) throw new Error(`upstream did not confirm that ${repository} may be read`)
  return granted === 'public'
}
