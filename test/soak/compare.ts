import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { World } from './world.ts'

/** Reads all blobs that the ended nodes have on their disks. A file has its name only when it is whole and right. @returns how many */
export async function compareStores({ nodes, journal }: World): Promise<number> {
  let compared = 0
  for (const node of nodes) {
    const folder = join(node.dataDir, 'blobs/sha256')
    for (const name of await readdir(folder).catch(() => [])) {
      const hash = createHash('sha256')
      await pipeline(createReadStream(join(folder, name)), hash)
      const digest = hash.digest('hex')
      compared++
      if (digest !== name)
        journal.violate('a blob on disk is wrong', node.name, `${join(folder, name)} has the digest ${digest}`)
    }
  }
  return compared
}
