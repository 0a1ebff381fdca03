import { spawn } from 'node:child_process'
import { getEventListeners, once } from 'node:events'
import { chmod, lstat, mkdir, writeFile } from 'node:fs/promises'
import { connect, Server } from 'node:net'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { z } from 'zod'
import { ControlClient } from '../../../daemon/cli/control.ts'
import { Failure } from '../../../daemon/cli/failure.ts'
import { createControlApp } from '../../../daemon/control/app.ts'
import { openControl } from '../../../daemon/control/open.ts'
import {
  answers,
  type Call,
  ControlError,
  gives,
  type Operations,
  takes,
  tells,
} from '../../../daemon/control/operation.ts'
import { listenAtSocket } from '../../../daemon/control/socket.ts'
import { Lifecycle } from '../../../daemon/lifecycle.ts'
import { until } from '../../fixtures/node.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'

const nothing = z.strictObject({})

async function controlled(operations: Operations, settings: { maxCalls?: number; idleLimit?: number } = {}) {
  const dataDir = await tempDir()
  const stopping = new AbortController()
  const log: string[] = []
  const logger = pino({ base: null }, { write: (line: string) => void log.push(line) })
  const app = createControlApp({ operations, version: '9.9.9', logger, stopping: stopping.signal, ...settings })
  const path = join(dataDir, 'control.sock')
  const server = await listenAtSocket(path, app.callback())
  onTestFinished(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const use = <T>(work: (node: ControlClient) => Promise<T>) => ControlClient.use({ dataDir }, work)
  return { dataDir, path, use, stopping, log }
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

describe('an operation', () => {
  it('answers, or tells of its progress', async () => {
    const { use } = await controlled({
      add: answers(z.strictObject({ a: z.number(), b: z.number() }), async ({ a, b }) => ({ sum: a + b })),
      count: tells(z.strictObject({ to: z.number() }), async ({ to }, { send }) => {
        for (let at = 1; at <= to; at++) await send({ event: 'at', at } as never)
        return { counted: to }
      }),
    })
    await use(async (node) => {
      expect(await node.ask({ operation: 'add', input: { a: 1, b: 2 } })).toEqual({ sum: 3 })
      expect(await all(node.events({ operation: 'count', input: { to: 3 } }))).toEqual([
        { event: 'at', at: 1 },
        { event: 'at', at: 2 },
        { event: 'at', at: 3 },
        { event: 'done', counted: 3 },
      ])
      // More than a socket holds, to a client that reads in its own time.
      expect((await all(node.events({ operation: 'count', input: { to: 50_000 } }))).length).toBe(50_001)
    })
  })

  it('takes bytes, and gives them', async () => {
    const { use } = await controlled({
      measure: takes(z.strictObject({ name: z.string() }), async ({ name }, body) => {
        let bytes = 0
        for await (const piece of body) bytes += piece.length
        return { name, bytes }
      }),
      bytes: gives(z.strictObject({ pieces: z.number() }), async ({ pieces }) =>
        (async function* () {
          for (let at = 0; at < pieces; at++) yield Buffer.alloc(65_536, at)
        })(),
      ),
    })
    await use(async (node) => {
      const body = (async function* () {
        for (let at = 0; at < 100; at++) yield Buffer.alloc(100_000)
      })()
      const told = await all(node.upload({ operation: 'measure', input: { name: 'ä b' } }, body))
      expect(told).toEqual([{ event: 'done', name: 'ä b', bytes: 10_000_000 }])
      const got = await all(node.download({ operation: 'bytes', input: { pieces: 50 } }))
      expect(Buffer.concat(got).length).toBe(50 * 65_536)
    })
  })

  it('remembers nothing of what a slow client has taken', async () => {
    let most = 0
    const { use } = await controlled({
      bytes: gives(nothing, async (_, signal) =>
        (async function* () {
          for (let at = 0; at < 200; at++) {
            yield Buffer.alloc(65_536)
            most = Math.max(most, getEventListeners(signal, 'abort').length)
          }
        })(),
      ),
    })
    await use(async (node) => {
      for await (const _ of node.download({ operation: 'bytes', input: {} })) await new Promise(setImmediate)
    })
    expect(most).toBeLessThan(5)
  })

  it('that fails says why: before its first word, in the middle, and while bytes still come', async () => {
    const { use, log } = await controlled({
      no: answers(nothing, () => Promise.reject(new ControlError('there is none: make one'))),
      bug: answers(nothing, () => Promise.reject(new TypeError('x of undefined'))),
      late: tells(nothing, async (_, { send }) => {
        await send({ event: 'begun' })
        throw new ControlError('the disk is full')
      }),
      early: takes(nothing, async (_, body) => {
        for await (const piece of body) if (piece.length > 0) throw new ControlError('that is no archive')
        return {}
      }),
      cut: gives(nothing, async () =>
        (async function* () {
          yield Buffer.alloc(10)
          throw new ControlError('its file is gone')
        })(),
      ),
    })
    await use(async (node) => {
      const input = {}
      await expect(node.ask({ operation: 'no', input })).rejects.toThrow(/^there is none: make one$/)
      await expect(node.ask({ operation: 'bug', input })).rejects.toThrow(
        /x of undefined.*the log of the node says more/,
      )
      await expect(all(node.events({ operation: 'late', input }))).rejects.toThrow(/^the disk is full$/)
      const endless = (async function* () {
        while (true) yield Buffer.alloc(65_536)
      })()
      await expect(all(node.upload({ operation: 'early', input }, endless))).rejects.toThrow(/^that is no archive$/)
      await expect(all(node.download({ operation: 'cut', input }))).rejects.toThrow(/has ended before it was done/)
      await expect(node.ask({ operation: 'no', input: { more: 1 } })).rejects.toThrow(/more/)
      await expect(node.ask({ operation: 'no', input: { text: 'x'.repeat(70_000) } })).rejects.toThrow(/65536 bytes/)
      await expect(node.ask({ operation: 'new', input })).rejects.toThrow(
        /older than this command.*9\.9\.9.*Restart it/,
      )
      await expect(node.ask({ operation: 'constructor', input })).rejects.toThrow(/can not do "constructor"/)
      for (const failed of await Promise.allSettled([node.ask({ operation: 'no', input })])) {
        expect(failed).toMatchObject({ reason: expect.any(Failure) })
      }
    })
    // A fault of the node, and an answer that could not be told why it was cut.
    expect(log.length).toBe(2)
  })

  it('ends when its client hangs up, when the node stops, and when it tells nothing for long', async () => {
    const ended: unknown[] = []
    let begun = 0
    const wait = async ({ signal, send }: Call) => {
      await send({ event: 'begun' })
      begun++
      await once(signal, 'abort')
      ended.push(signal.reason.message)
      signal.throwIfAborted()
      return {}
    }
    const operations = { wait: tells(nothing, (_, call) => wait(call)) }
    const { use, stopping } = await controlled(operations)
    const hangUp = new AbortController()
    const events = (signal?: AbortSignal) =>
      use((node) => all(node.events({ operation: 'wait', input: {}, ...(signal && { signal }) })))
    const left = events(hangUp.signal).catch(() => {})
    await until(() => begun === 1)
    hangUp.abort()
    await left
    await until(() => ended.length === 1)
    expect(ended).toEqual(['the client has hung up'])
    const stopped = expect(events()).rejects.toThrow(/^the node is stopping$/)
    await until(() => begun === 2)
    stopping.abort()
    await stopped
    const idle = await controlled(operations, { idleLimit: 100 })
    const told = idle.use((node) => all(node.events({ operation: 'wait', input: {} })))
    await expect(told).rejects.toThrow(/nothing has come of it for 0.1 s/)
  })

  it('is refused where too many are under way', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    let begun = 0
    const hold = answers(nothing, async () => {
      begun++
      await promise
      return {}
    })
    const { use } = await controlled({ hold }, { maxCalls: 2 })
    const ask = () => use((node) => node.ask({ operation: 'hold', input: {} }))
    const held = [ask(), ask()]
    await until(() => begun === 2)
    await expect(ask()).rejects.toThrow(/2 requests are under way/)
    resolve()
    await Promise.all(held)
    expect(await ask()).toEqual({})
  })
})

describe('the socket', () => {
  it('is for its own user', async () => {
    const { path } = await controlled({})
    expect((await lstat(path)).mode & 0o777).toBe(0o600)
  })

  it('that a killed process left is replaced; one in use, and what is no socket, is left alone', async () => {
    const folder = await tempDir()
    const path = join(folder, 'x.sock')
    const script = `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    await expect(listenAtSocket(path, () => {})).rejects.toThrow(/another node is controlled at .*control\.socket/)
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect((await lstat(path)).isSocket()).toBe(true)
    const server = await listenAtSocket(path, () => {})
    await new Promise((resolve) => server.close(resolve))
    await writeFile(path, 'mine')
    await expect(listenAtSocket(path, () => {})).rejects.toThrow(/is no socket: remove it, or set control.socket/)
    await expect(listenAtSocket(join(folder, 'no/x.sock'), () => {})).rejects.toThrow(/there is no such folder/)
  })

  it('at too long a path is an error where somebody has chosen it, and else a warning that says what to do', async () => {
    const dataDir = join(await tempDir(), 'd'.repeat(120))
    await mkdir(dataDir)
    const log: string[] = []
    const logger = pino({ base: null }, { write: (line: string) => void log.push(line) })
    const open = (socket?: string) => {
      const lifecycle = new Lifecycle()
      onTestFinished(() => lifecycle.stop())
      return openControl({ config: { dataDir, control: { socket } }, operations: {}, version: '1', lifecycle, logger })
    }
    await open()
    expect(log.join()).toMatch(/layerd images.*107 are possible: set control.socket to a shorter one/)
    await expect(open(join(dataDir, 'x'))).rejects.toThrow(/set control.socket/)
    await expect(ControlClient.use({ dataDir }, async () => {})).rejects.toThrow(/set control.socket to a shorter one/)
  })

  it.each(['EOPNOTSUPP', 'EPERM'])('where the file system has none (%s) is treated alike', async (code) => {
    const dataDir = await tempDir()
    const log: string[] = []
    const logger = pino({ base: null }, { write: (line: string) => void log.push(line) })
    const fail = vi.spyOn(Server.prototype, 'listen').mockImplementation(function (this: Server) {
      process.nextTick(() => this.emit('error', Object.assign(new Error(`listen ${code}`), { code })))
      return this
    })
    onTestFinished(() => fail.mockRestore())
    const open = (socket?: string) => {
      const lifecycle = new Lifecycle()
      onTestFinished(() => lifecycle.stop())
      return openControl({ config: { dataDir, control: { socket } }, operations: {}, version: '1', lifecycle, logger })
    }
    await open()
    expect(log.join()).toMatch(/layerd images.*no control socket can be made.*control\.socket/)
    await expect(open(join(dataDir, 'x'))).rejects.toThrow(/no control socket can be made/)
  })

  it('is removed when the node stops, which ends what is under way', async () => {
    const dataDir = await tempDir()
    const lifecycle = new Lifecycle()
    const wait = tells(nothing, async (_, { signal, send }) => {
      await send({ event: 'begun' })
      await once(signal, 'abort')
      throw signal.reason
    })
    const config = { dataDir, control: { socket: undefined } }
    await openControl({ config, operations: { wait }, version: '1', lifecycle, logger: pino({ level: 'silent' }) })
    await ControlClient.use({ dataDir }, async (node) => {
      const events = node.events({ operation: 'wait', input: {} })
      expect((await events.next()).value).toEqual({ event: 'begun' })
      const ended = expect(events.next()).rejects.toThrow(/^the node is stopping$/)
      await lifecycle.stop()
      await ended
    })
    await expect(lstat(join(dataDir, 'control.sock'))).rejects.toThrow(/ENOENT/)
  })
})

describe('a command', () => {
  it('says where it has looked for a node that is not there', async () => {
    const { path, use } = await controlled({})
    const elsewhere = await tempDir()
    const ask = (folder: string) =>
      ControlClient.use({ dataDir: folder }, (node) => node.ask({ operation: 'x', input: {} }))
    await expect(ask(elsewhere)).rejects.toThrow(/no node runs with this data folder.*layerd serve.*--data-dir/)
    if (process.getuid?.() !== 0) {
      await chmod(path, 0)
      await expect(use((node) => node.ask({ operation: 'x', input: {} }))).rejects.toThrow(/as the user of the node/)
    }
  })

  it('says what listens there, where that is no node', async () => {
    const dataDir = await tempDir()
    const server = await listenAtSocket(join(dataDir, 'control.sock'), (_, response) => response.writeHead(404).end())
    onTestFinished(() => void server.close())
    const asked = ControlClient.use({ dataDir }, (node) => node.ask({ operation: 'x', input: {} }))
    await expect(asked).rejects.toThrow(/is no layerd node/)
  })
})

it('a client that says nothing is cut off', async () => {
  const { path, use } = await controlled({ ok: answers(nothing, async () => ({})) })
  const sockets = Array.from({ length: 70 }, () => connect(path).on('error', () => {}))
  onTestFinished(() => sockets.forEach((socket) => void socket.destroy()))
  await until(() => sockets.some((socket) => socket.destroyed))
  for (const socket of sockets) socket.destroy()
  await until(() =>
    use((node) => node.ask({ operation: 'ok', input: {} })).then(
      () => true,
      () => false,
    ),
  )
})
