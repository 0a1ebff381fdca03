import { shell } from '../shell.ts'
import { type Fault, nothing } from './fault.ts'

/** Removes a folder in which the node writes meanwhile, so that some of it may be there again. */
const removed = (folder: string) => `rm -rf ${folder} || rm -rf ${folder} || true`

/** What becomes of a node's disk and its data folder. */
export const folderFaults: readonly Fault[] = [
  {
    kind: 'disk filled by another program',
    weight: 3,
    seconds: [5, 60],
    befalls: 'node',
    async begin({ node }) {
      await node.disk.fill()
      return () => node.disk.empty()
    },
  },
  {
    kind: 'disk kept full by another program',
    weight: 2,
    seconds: [10, 45],
    befalls: 'node',
    async begin({ node }) {
      await node.disk.fill()
      const timer = setInterval(() => void node.disk.fillUp().catch(() => {}), FILL_AGAIN_MS)
      return async () => {
        clearInterval(timer)
        await node.disk.empty()
      }
    },
  },
  {
    kind: 'killed on a full disk',
    weight: 1,
    seconds: [5, 30],
    befalls: 'node',
    async begin({ node }) {
      await node.kill()
      await node.disk.fill()
      node.start()
      return () => node.disk.empty()
    },
  },
  {
    kind: 'data folder removed under the running node',
    weight: 1,
    seconds: [0, 0],
    befalls: 'node',
    async begin({ node }) {
      await shell(removed(node.dataDir))
      return nothing
    },
  },
  {
    kind: 'contents of the data folder removed under the running node',
    weight: 1,
    seconds: [0, 0],
    befalls: 'node',
    async begin({ node }) {
      await shell(`find ${node.dataDir} -mindepth 1 -delete || true`)
      return nothing
    },
  },
  {
    kind: 'blobs removed under the running node',
    weight: 1,
    seconds: [0, 0],
    befalls: 'node',
    async begin({ node }) {
      await shell(removed(`${node.dataDir}/blobs`))
      return nothing
    },
  },
  {
    kind: 'data folder lost while the node was stopped',
    weight: 1,
    seconds: [1, 20],
    befalls: 'node',
    async begin({ node }) {
      await node.kill()
      await shell(`rm -rf ${node.dataDir}`)
      return async () => node.start()
    },
  },
  {
    kind: 'cloned from another node that runs',
    weight: 2,
    seconds: [0, 0],
    befalls: 'pair',
    async begin({ node, from, note }) {
      note(`a copy of the data of ${from.name}`)
      await node.kill()
      // What is written meanwhile is torn, or fits no longer; and the copy may not fit on this disk.
      await shell(`rm -rf ${node.dataDir}; cp -a ${from.dataDir} ${node.dataDir} 2>/dev/null || true`)
      node.start()
      return nothing
    },
  },
]

/** How often the other program writes on, in ms. */
const FILL_AGAIN_MS = 500
