import { defineConfig } from 'vitest/config'

const project = (name: string, test: object) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], ...test },
})

export default defineConfig({
  test: {
    // Most tests wait for most of their time. All projects have the same number, or vitest runs one after the other, with a worker for each.
    maxWorkers: 3,
    // Of the tests of a file that run at the same time.
    maxConcurrency: 4,
    // Deadlines are for what never ends: the machine may have other work to do.
    projects: [
      project('unit', { testTimeout: 60_000 }),
      // The fleet simulator: real sessions, pickers and claim books; time and network are simulated.
      project('sim', { testTimeout: 60_000 }),
      // The suites that every implementation of a port passes, with real files and sockets.
      project('conformance', { testTimeout: 60_000, hookTimeout: 60_000 }),
      // Real nodes among peers, clients and upstreams that mean harm.
      project('hostile', { testTimeout: 180_000, hookTimeout: 120_000 }),
      // Several nodes in one process each.
      project('integration', { testTimeout: 180_000, hookTimeout: 60_000 }),
    ],
  },
})
