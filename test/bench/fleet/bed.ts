import { mkdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Tools } from '../../e2e/debian.ts'
import { run } from '../../e2e/exec.ts'
import { pushLayout } from '../../fixtures/images/push.ts'
import { compile } from '../compile.ts'
import { startRegistry } from '../registries.ts'
import { type FleetImage, FleetImages } from './image.ts'
import type { Options } from './options.ts'

/** Enough to pass through all code that a pull needs, and little to fetch over a slow link. */
const FIRST_BYTES = 2 * 1024 * 1024
/** Copies of the image beside the nodes' own: upstream's, the one that is seeded, a cache's, and a spare one. */
const OTHER_COPIES = 4
/** Each layerd, roughly, with its client. */
const NODE_MEMORY_BYTES = 250e6

/** What all runs share. */
export interface Bed {
  tools: Tools
  /** Folder for whatever is written. */
  folder: string
  image: FleetImage
  first: FleetImage
  /** Folder with the images' blobs by their names. */
  blobs: string
  /** docker-registry's folder, with the images in it. */
  data: string
  /** layerd's compiled program. */
  program: string
}

/** @param work an empty folder inside the jail */
export async function makeBed(tools: Tools, work: string, options: Options): Promise<Bed> {
  const folder = join(work, 'fleet')
  await mkdir(folder)
  await useMemory(folder, options)
  const program = await compile(join(folder, 'package'), options.source)
  const layout = join(folder, 'layout')
  const images = new FleetImages(layout)
  const image = await images.add('image', options.size, options.layers)
  const first = await images.add('first', FIRST_BYTES, 1)
  images.finish()
  const data = join(folder, 'upstream')
  const filling = join(folder, 'filling')
  {
    await using registry = await startRegistry(tools, filling)
    await pushLayout(layout, registry.url)
    await rename(join(filling, 'data'), data)
  }
  return { tools, folder, image, first, blobs: images.blobs, data, program }
}

/** A disk that all nodes share would be what is measured: each node of a fleet has one of its own. */
async function useMemory(folder: string, { cases, size }: Options): Promise<void> {
  const nodes = Math.max(...cases.map((fleetCase) => fleetCase.nodes))
  const needed = (nodes + OTHER_COPIES) * size
  const free = 1024 * Number(/^MemAvailable:\s+(\d+) kB$/m.exec(await readFile('/proc/meminfo', 'utf8'))?.[1] ?? 0)
  if (needed + nodes * NODE_MEMORY_BYTES > free) {
    console.log(`${gigabytes(needed)} of content don't fit in memory: all nodes share a disk, which may be the limit`)
    return
  }
  await run('mount', ['-t', 'tmpfs', '-o', `size=${Math.round(1.2 * needed + 100e6)},mode=755`, 'fleet', folder])
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`
}
