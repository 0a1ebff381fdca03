import { type Upstream, UpstreamError } from '../../proxy/upstream/types.ts'

/** Upstream registries, of which a name is none: what is pushed to nodes, nobody but them can give. @param own that name */
export function withoutOwn(upstream: Upstream, own: string): Upstream {
  const guarded =
    <Request extends { readonly repository: { readonly registry: string } }, Answer>(
      ask: (request: Request) => Promise<Answer>,
    ) =>
    async (request: Request): Promise<Answer> => {
      if (request.repository.registry !== own) return await ask(request)
      throw new UpstreamError('not-found', 'no registry has it, but for the nodes that it was pushed to')
    }
  return {
    resolveManifest: guarded((request) => upstream.resolveManifest(request)),
    stat: guarded((request) => upstream.stat(request)),
    open: guarded((request) => upstream.open(request)),
    list: guarded((request) => upstream.list(request)),
    isSilent: (registry) => registry !== own && upstream.isSilent(registry),
    isKnownTo: async (registry) => registry !== own && (await upstream.isKnownTo(registry)),
    networkChanged: () => upstream.networkChanged(),
    close: () => upstream.close(),
  }
}
