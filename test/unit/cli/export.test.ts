import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { createControlApp } from '../../../daemon/control/app.ts'
import { gives, tells } from '../../../daemon/control/operation.ts'
import { listenAtSocket } from '../../../daemon/control/socket.ts'
import { until } from '../../fixtures/node.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const bin = new URL('../../../daemon/cli/bin.ts', import.meta.url).pathname
const any = z.looseObject({})

/** A node that gives an archive without end. */
async function endlessNode(): Promise<string> {
  const dataDir = await tempDir()
  const stopping = new AbortController()
  const operations = {
    pull: tells(any, async () => ({})),
    export: gives(any, async () =>
      (async function* () {
        while (true) {
          yield Buffer.alloc(65_536)
          await new Promise(setImmediate)
        }
      })(),
    ),
  }
  const logger = pino({ level: 'silent' })
  const app = createControlApp({ operations, version: '1', logger, stopping: stopping.signal })
  const server = await listenAtSocket(join(dataDir, 'control.sock'), app.callback())
  onTestFinished(async () => {
    stopping.abort()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return dataDir
}

function layerd(args: readonly string[]) {
  const child = spawn(process.execPath, [bin, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

describe('an export that is cut', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s leaves no part of its file', async (signal) => {
    const dataDir = await endlessNode()
    const folder = await tempDir()
    const child = layerd(['export', 'app:1', join(folder, 'app.tar'), '--data-dir', dataDir])
    await until(async () => (await readdir(folder)).some((name) => name.endsWith('.part')))
    child.kill(signal)
    expect(await once(child, 'exit')).toEqual([null, signal])
    expect(await readdir(folder)).toEqual([])
  })

  it('by the program that reads it has failed', async () => {
    const child = layerd(['export', 'app:1', '-', '--data-dir', await endlessNode()])
    await once(child.stdout, 'data')
    child.stdout.destroy()
    expect(await once(child, 'exit')).toEqual([1, null])
  })
})
