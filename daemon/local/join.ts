import { OciError, type OciErrorCode } from '../../proxy/oci/errors.ts'
import { repositoryText } from '../../proxy/oci/name.ts'
import type {
  ContentRequest,
  ContentSource,
  ListRequest,
  ListSource,
  TagRequest,
  TagResolver,
} from '../../proxy/ports.ts'
import { TransientError } from '../../proxy/upstream/errors.ts'
import { UpstreamError } from '../../proxy/upstream/types.ts'

interface Sources {
  readonly content: ContentSource
  readonly tags: TagResolver
  readonly lists: ListSource
}

type Asked = ContentRequest | TagRequest | ListRequest

/** Local repositories and those of upstream registries as one. @param registry the name of the local one */
export function joined(registry: string, local: Sources, upstream: Sources): Sources {
  const of = ({ repository }: Asked) => (repository.registry === registry ? local : upstream)
  return {
    content: {
      open: async (request) => {
        const content = of(request).content.open(request)
        return request.kind === 'blob' ? await orUnknown(request, 'BLOB_UNKNOWN', content) : await content
      },
      stat: (request) => of(request).content.stat(request),
      held: (request) => of(request).content.held(request),
    },
    tags: { resolve: (request) => of(request).tags.resolve(request) },
    lists: {
      list: async (request) => {
        const list = orUnknown(request, 'NAME_UNKNOWN', of(request).lists.list(request))
        if (request.mayBeLocal !== true || request.resource === 'tags/list') return await list
        // A registry answers with an empty list of referrers where it has none (distribution-spec 1.1); this one has none.
        return await list.catch((error: unknown) => {
          if (error instanceof OciError && error.status === 404) return local.lists.list(request)
          throw error
        })
      },
    },
  }
}

/**
 * A bare name that is new here may be a local one to which nothing was pushed yet: blobs and lists that nobody can be asked for are
 * unknown then. A pull begins with the manifest, and is told what is the matter with the registry.
 */
async function orUnknown<T>({ mayBeLocal, repository }: Asked, code: OciErrorCode, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (mayBeLocal !== true || !isAway(error)) throw error
    const name = repositoryText(repository)
    const text = `there is no local repository of that name, and what ${name} has is not known: ${(error as Error).message}`
    throw new OciError(code, text, { cause: (error as Error).cause })
  }
}

/** Whether a registry is away; one that lets its clients wait, or cuts them off, is there. */
function isAway(error: unknown): boolean {
  const cause = error instanceof OciError ? error.cause : undefined
  if (!(cause instanceof UpstreamError) || cause.code !== 'unreachable') return false
  return !(cause instanceof TransientError && cause.silence !== undefined)
}
