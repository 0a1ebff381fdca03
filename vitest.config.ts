import { defineConfig } from 'vitest/config'

const project = (name: string, test: object) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], ...test },
})

export default defineConfig({
  test: {
    // Deadlines are for what never ends: the machine may have other work to do.
    projects: [
      project('unit', { testTimeout: 60_000 }),
      // The fleet simulator: real sessions, pickers and claim books; time and network are simulated.
      project('sim', { testTimeout: 60_000 }),
      // The suites that every implementation of a port passes, with real files and sockets.
      project('conformance', { testTimeout: 60_000, hookTimeout: 60_000 }),
      // Real nodes among peers, clients and upstreams that mean harm.
      project('hostile', { testTimeout: 180_000, hookTimeout: 120_000, maxWorkers: 1 }),
      // Several nodes in one process each: more than two files at a time measure the machine rather than the code.
      project('integration', { testTimeout: 180_000, hookTimeout: 60_000, maxWorkers: 2 }),
    ],
  },
})
