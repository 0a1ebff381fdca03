interface WellKnownRegistry {
  readonly endpoint: string
  readonly authRealms?: string[]
}

/** The registries that a node may ask without being configured: well-known public ones, by the name in references. */
export const wellKnownRegistries: Readonly<Record<string, WellKnownRegistry>> = {
  'docker.io': { endpoint: 'https://registry-1.docker.io' },
  'cgr.dev': { endpoint: 'https://cgr.dev' },
  'docker.elastic.co': { endpoint: 'https://docker.elastic.co' },
  'gcr.io': { endpoint: 'https://gcr.io' },
  'ghcr.io': { endpoint: 'https://ghcr.io' },
  // linuxserver.io keeps its images at GitHub, and sends clients to GitHub's token service.
  'lscr.io': { endpoint: 'https://lscr.io', authRealms: ['https://ghcr.io/token'] },
  'mcr.microsoft.com': { endpoint: 'https://mcr.microsoft.com' },
  'nvcr.io': { endpoint: 'https://nvcr.io' },
  'public.ecr.aws': { endpoint: 'https://public.ecr.aws' },
  'quay.io': { endpoint: 'https://quay.io' },
  'registry.access.redhat.com': { endpoint: 'https://registry.access.redhat.com' },
  'registry.gitlab.com': { endpoint: 'https://registry.gitlab.com' },
  'registry.k8s.io': { endpoint: 'https://registry.k8s.io' },
}

/**
 * Repositories in which there is nothing that is not for everybody: Docker's own images, and registries that know no login. Of the
 * other well-known registries each repository may be public or private.
 */
export const publicRepositories: readonly string[] = [
  'docker.io/library/**',
  'docker.elastic.co/**',
  'lscr.io/**',
  'mcr.microsoft.com/**',
  'public.ecr.aws/**',
  'registry.access.redhat.com/**',
  'registry.k8s.io/**',
]

/**
 * Whether an entry is the well-known registry of that name, which anybody can reach. One that is asked at another address is a mirror
 * of somebody's, who may give more to those in his network.
 */
export function isWellKnown(
  name: string,
  { endpoint, overridePath, insecure }: { endpoint: string; overridePath: boolean; insecure: boolean },
): boolean {
  if (overridePath || insecure || !Object.hasOwn(wellKnownRegistries, name)) return false
  return new URL(endpoint).href === new URL(wellKnownRegistries[name]?.endpoint ?? '').href
}
