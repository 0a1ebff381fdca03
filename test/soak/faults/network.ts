import { type Fault, nothing } from './fault.ts'

/** What becomes of a node's interface, its cable and the port at the switch. */
export const networkFaults: readonly Fault[] = [
  {
    kind: 'interface down',
    weight: 3,
    seconds: [3, 45],
    befalls: 'node',
    async begin({ lan, node }) {
      await lan.setLink(node.name, false)
      return () => lan.setLink(node.name, true)
    },
  },
  {
    kind: 'interface flaps',
    weight: 1,
    seconds: [6, 20],
    befalls: 'node',
    async begin({ lan, node }) {
      for (let time = 0; time < 3; time++) {
        await lan.setLink(node.name, false)
        await lan.setLink(node.name, true)
      }
      await lan.setLink(node.name, false)
      return () => lan.setLink(node.name, true)
    },
  },
  {
    kind: 'cable out',
    weight: 2,
    seconds: [3, 60],
    befalls: 'node',
    async begin({ lan, node }) {
      await lan.setCable(node.name, false)
      return () => lan.setCable(node.name, true)
    },
  },
  {
    kind: 'cut off in silence',
    weight: 3,
    seconds: [3, 90],
    befalls: 'node',
    async begin({ lan, node }) {
      await lan.setPort(node.name, false)
      return () => lan.setPort(node.name, true)
    },
  },
  {
    kind: 'fleet split',
    weight: 2,
    seconds: [5, 90],
    befalls: 'part',
    async begin({ lan, nodes }) {
      const names = nodes.map(({ name }) => name)
      await lan.setApart(names, true)
      return () => lan.setApart(names, false)
    },
  },
  {
    kind: 'address changed',
    weight: 3,
    seconds: [0, 0],
    befalls: 'node',
    async begin({ lan, node, note }) {
      note(`now ${await lan.changeAddress(node.name)}`)
      return nothing
    },
  },
  {
    kind: 'address changed while the interface was down',
    weight: 1,
    seconds: [2, 20],
    befalls: 'node',
    async begin({ lan, node, note }) {
      await lan.setLink(node.name, false)
      return async () => {
        await lan.setLink(node.name, true)
        note(`now ${await lan.changeAddress(node.name)}`)
      }
    },
  },
  {
    kind: 'default route gone',
    weight: 2,
    seconds: [5, 60],
    befalls: 'node',
    async begin({ lan, node }) {
      await lan.setDefaultRoute(node.name, false)
      return () => lan.setDefaultRoute(node.name, true)
    },
  },
  {
    kind: 'all routes gone',
    weight: 2,
    seconds: [3, 60],
    befalls: 'node',
    async begin({ lan, node }) {
      await lan.setRoutes(node.name, false)
      return () => lan.setRoutes(node.name, true)
    },
  },
]
