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
