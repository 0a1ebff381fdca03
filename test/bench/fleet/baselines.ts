import { join } from 'node:path'
import type { Contender, World } from './contender.ts'
import { CurlPull } from './curl-pull.ts'
import { FleetRegistry } from './registry.ts'

/** Every node straight from upstream. */
export async function startDirect(world: World): Promise<Contender> {
  const pulls = pullsFrom(world, world.upstream.url)
  return {
    pulls,
    daemons: [],
    clients: pulls.map(({ pid }) => pid),
    go: () => pulls.forEach((pull) => void pull.go()),
    shared: [],
    async [Symbol.asyncDispose]() {},
  }
}

/** Every node through one docker-registry that is a cache, on a host like a node's. */
export async function startCache(world: World): Promise<Contender> {
  const { tools, lan, folder, logs, upstream } = world
  const data = join(folder, 'cache')
  const cache = await FleetRegistry.start({ tools, lan, host: lan.cache, folder: logs, data, remote: upstream.url })
  const pulls = pullsFrom(world, cache.url)
  return {
    pulls,
    daemons: [],
    clients: pulls.map(({ pid }) => pid),
    go: () => pulls.forEach((pull) => void pull.go()),
    shared: [cache.pid],
    [Symbol.asyncDispose]: () => cache[Symbol.asyncDispose](),
  }
}

/** A client on each node. @param registry base URL of the registry or mirror that each asks */
export function pullsFrom({ lan, folder, ...world }: World, registry: string, image = world.image): CurlPull[] {
  return lan.nodes.map(
    (host) => new CurlPull({ lan, host, registry, image, folder: join(folder, `client-${host.name}`) }),
  )
}
