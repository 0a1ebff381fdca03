import type { Digest } from '../../proxy/oci/digest.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type { Content, ContentInfo, ContentRequest } from '../../proxy/ports.ts'
import type { Upstream } from '../../proxy/upstream/types.ts'
import type { Rules } from '../rules.ts'
import type { Swarm } from '../swarm/ports.ts'
import { type AccessControl, foundIn } from './access.ts'
import { isOffline } from './errors.ts'
import type { Publicity } from './publicity.ts'
import { patienceWith, withPatience } from './wait.ts'

interface StatTools {
  readonly swarm: Pick<Swarm, 'providers' | 'stat'>
  readonly upstream: Pick<Upstream, 'stat' | 'isSilent'>
  readonly access: Pick<AccessControl, 'check'>
  readonly publicity: Pick<Publicity, 'given' | 'mayTellUnasked'>
  readonly rules: Pick<Rules, 'mustAsk'>
  /** How long upstream may take to answer before it counts as one that can't be asked, in ms. */
  readonly patience: number
  /** Whether only known peers are in the swarm, whose word is enough. */
  readonly isClosed: boolean
  /** Bytes of a blob, as a manifest says that a client got here. */
  readonly sizeOf: (digest: Digest) => number | undefined
  /** Fetches content, and so proves what is said of it. */
  readonly open: (request: ContentRequest) => Promise<Content>
}

/** How long a peer is looked for when upstream can't be asked, in ms. */
const lookupLimit = 5_000

/**
 * HEAD of what is not held: upstream knows best and needs to move nothing; peers when it can't be asked. In an open swarm a peer's word
 * counts where a manifest says the same; a manifest is short, and is fetched.
 * @throws {UpstreamError} where nobody says whose word counts
 */
export async function statElsewhere(tools: StatTools, request: ContentRequest): Promise<ContentInfo> {
  const { upstream, swarm, access, publicity, rules } = tools
  const repository = repositoryText(request.repository)
  const patience = patienceWith(upstream, request.repository.registry, tools.patience)
  try {
    const found = await withPatience(patience, request.signal, (signal) => upstream.stat({ ...request, signal }))
    // The client asks for the content next, and peers may hear of it without another question.
    if (found.access === 'public') await publicity.given(request, 'anybody')
    return { ...found, origin: 'upstream' }
  } catch (error) {
    if (!isOffline(error) || rules.mustAsk(repository) || !(await publicity.mayTellUnasked(request))) throw error
    if (!tools.isClosed && request.kind === 'manifest') {
      const content = await tools.open(request)
      await content.close()
      return content
    }
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(lookupLimit)])
    for await (const peer of swarm.providers(request.digest, signal)) {
      if (signal.aborted) break
      const found = await swarm.stat(peer, request.digest, signal).catch(() => undefined)
      if (found === undefined || !(tools.isClosed || found.size === tools.sizeOf(request.digest))) continue
      const place = foundIn(request, found.repositories)
      const granted = found.access === 'public' ? 'public' : await access.check(request, place)
      if (granted !== undefined) return { ...found, origin: 'peer' }
    }
    throw error
  }
}
