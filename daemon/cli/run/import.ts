import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { ControlClient } from '../control.ts'
import { Failure, reasonText } from '../failure.ts'
import type { NodeFlags } from '../node-flags.ts'
import { packLayout } from './layout-folder.ts'
import { formatBytes, StatusLine } from './terminal.ts'

/** What the node tells of an image that it has taken. */
interface Imported {
  readonly name: string
  readonly tags: readonly string[]
  readonly digest: string
  readonly platforms: readonly string[]
  readonly missing: readonly string[]
  readonly isOfferedToAll: boolean
}

/** @param source a file, a folder, or `-` */
export async function importFrom(
  source: string,
  { name, json, ...flags }: NodeFlags & { name?: string },
): Promise<void> {
  const bytes = await open(source)
  /** Of the source: what it does to the request is no fault of the node. */
  let failure: Failure | undefined
  const line = new StatusLine()
  await ControlClient.use(flags, async (node) => {
    let read = 0
    const counted = (async function* () {
      try {
        for await (const piece of bytes) {
          read += piece.length
          line.show(() => `${formatBytes(read)} read`)
          yield piece
        }
      } catch (error) {
        failure = new Failure(`${source} can't be read: ${reasonText(error)}`)
        throw failure
      }
    })()
    try {
      const input = name === undefined ? {} : { name }
      for await (const event of node.upload({ operation: 'import', input }, counted)) {
        if (event.event === 'image' && !json) {
          line.clear()
          process.stdout.write(imageText(event as unknown as Imported))
        }
        if (event.event === 'done' && json)
          process.stdout.write(`${JSON.stringify({ images: event.images }, null, 2)}\n`)
      }
    } catch (error) {
      throw failure ?? error
    } finally {
      line.clear()
    }
  })
}

function imageText({ name, tags, digest, platforms, missing, isOfferedToAll }: Imported): string {
  const names = tags.length === 0 ? [`${name}@${digest}`] : tags.map((tag) => `${name}:${tag}`)
  const lines = names.map((one) => [one, digest, platforms.join(', ')].filter((part) => part !== '').join('  '))
  if (missing.length > 0) {
    const what = missing.length === 1 ? 'one manifest' : `${missing.length} manifests`
    lines.push(
      `  ${what} of its index can't be pulled here, as the archive does not have all of ${missing.length === 1 ? 'it' : 'them'}`,
    )
  }
  if (isOfferedToAll)
    lines.push('  offered to whoever is on this network; registry.offerPushes (closed, never) changes that')
  return `${lines.join('\n')}\n`
}

async function open(source: string): Promise<AsyncIterable<Uint8Array>> {
  if (source === '-') {
    if (process.stdin.isTTY)
      throw new Failure('standard input is a terminal: pipe an archive into this command, or name a file')
    return process.stdin
  }
  const found = await stat(source).catch((error: NodeJS.ErrnoException) => {
    throw new Failure(`${source}: ${error.code === 'ENOENT' ? 'there is no such file' : error.message}`)
  })
  return found.isDirectory() ? await packLayout(source) : createReadStream(source, { highWaterMark: 1024 * 1024 })
}
