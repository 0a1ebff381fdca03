import { setTimeout as delay } from 'node:timers/promises'
import { type Fault, nothing } from './fault.ts'

/** Between two orders of a service manager that does not wait, in ms. */
const SOON_MS = 300

export const processFaults: readonly Fault[] = [
  {
    kind: 'killed',
    weight: 3,
    seconds: [0, 40],
    befalls: 'node',
    async begin({ node }) {
      await node.kill()
      return async () => node.start()
    },
  },
  {
    kind: 'killed again while it starts',
    weight: 1,
    seconds: [0, 5],
    befalls: 'node',
    async begin({ node, draw }) {
      for (let time = 0; time < 3; time++) {
        await node.kill()
        node.start()
        await delay(draw.between(0, 4) * SOON_MS)
      }
      await node.kill()
      return async () => node.start()
    },
  },
  {
    kind: 'stopped',
    weight: 2,
    seconds: [2, 40],
    befalls: 'node',
    async begin({ node, violate }) {
      const problem = await node.stop()
      if (problem !== undefined) violate(problem)
      return async () => node.start()
    },
  },
  {
    kind: 'upgraded',
    weight: 2,
    seconds: [0, 0],
    befalls: 'node',
    async begin({ node, violate }) {
      const problem = await node.stop()
      if (problem !== undefined) violate(problem)
      node.start()
      return nothing
    },
  },
  {
    kind: 'frozen',
    weight: 3,
    seconds: [2, 60],
    befalls: 'node',
    async begin({ node }) {
      node.freeze()
      return async () => node.thaw()
    },
  },
]
