import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { open, rename, rm, stat } from 'node:fs/promises'
import { ControlClient } from '../control.ts'
import { Failure } from '../failure.ts'
import type { ExportFlags } from '../node-flags.ts'
import { pullAt } from './pull.ts'
import { formatBytes, StatusLine } from './terminal.ts'

/** @param file `-` for standard output */
export async function exportTo(image: string, file: string, { platform, json, ...flags }: ExportFlags): Promise<void> {
  if (file === '-' && process.stdout.isTTY) {
    throw new Failure('standard output is a terminal: give a file, or pipe the archive into another command')
  }
  if (file === '-' && json) throw new Failure('--json needs a file: with - the archive itself is the output')
  await ControlClient.use(flags, async (node) => {
    // First, so that what can't be had is known before anything is written.
    const pulled = { image, platforms: platform === undefined ? [] : [platform], isPartEnough: true }
    await pullAt(node, pulled, process.stderr.isTTY ? process.stderr : undefined)
    const input = { image, ...(platform === undefined ? {} : { platform }) }
    const pieces = node.download({ operation: 'export', input })
    if (file === '-') return await toOutput(pieces)
    const bytes = await toFile(pieces, file)
    if (json) process.stdout.write(`${JSON.stringify({ file, bytes }, null, 2)}\n`)
    else process.stdout.write(`${file}  ${formatBytes(bytes)}\n`)
  })
}

async function toOutput(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of pieces) {
    if (!process.stdout.write(piece)) await new Promise((resolve) => process.stdout.once('drain', resolve))
  }
}

/** What ends a command from outside. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/** A file that is there stays until the whole archive can take its place. */
async function toFile(pieces: AsyncIterable<Uint8Array>, file: string): Promise<number> {
  const before = await stat(file).catch(() => undefined)
  if (before?.isFile() === false) throw new Failure(`${file} is no file: name one, or - for standard output`)
  const part = `${file}.${randomBytes(4).toString('hex')}.part`
  const line = new StatusLine()
  // Before there is a part.
  const interrupted = signals.map((signal) => {
    const onSignal = () => {
      rmSync(part, { force: true })
      // As it would have ended without this.
      process.off(signal, onSignal)
      process.kill(process.pid, signal)
    }
    process.on(signal, onSignal)
    return () => process.off(signal, onSignal)
  })
  const end = () => {
    for (const off of interrupted) off()
  }
  const handle = await open(part, 'wx').catch((error: NodeJS.ErrnoException) => {
    end()
    throw new Failure(`${file} can't be written: ${error.message}`)
  })
  let bytes = 0
  try {
    for await (const piece of pieces) {
      await handle.writeFile(piece)
      bytes += piece.length
      line.show(() => `${formatBytes(bytes)} written`)
    }
    await handle.sync()
    await handle.close()
    await rename(part, file)
    return bytes
  } catch (error) {
    await handle.close().catch(() => {})
    await rm(part, { force: true })
    throw error instanceof Failure ? error : new Failure(`${file} can't be written: ${(error as Error).message}`)
  } finally {
    end()
    line.clear()
  }
}
