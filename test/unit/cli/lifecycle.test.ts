import { EventEmitter } from 'node:events'
import { pino } from 'pino'
import { expect, test, vi } from 'vitest'
import { Failure, reasonText } from '../../../daemon/cli/failure.ts'
import { runUntilSignal } from '../../../daemon/cli/lifecycle.ts'

const logger = pino({ level: 'silent' })

function host() {
  return Object.assign(new EventEmitter(), { exit: vi.fn() })
}

const node = (stop: () => Promise<void> = async () => {}) => ({ stop: vi.fn(stop) })

test.each(['SIGTERM', 'SIGINT'])('%s stops the node once', async (signal) => {
  const process = host()
  const started = node()
  const onReady = vi.fn(() => process.emit(signal, signal))
  await runUntilSignal(async () => started, onReady, logger, process)
  expect(onReady).toHaveBeenCalledWith(started)
  expect(started.stop).toHaveBeenCalledTimes(1)
  expect(process.exit).not.toHaveBeenCalled()
  expect(process.eventNames()).toEqual([])
})

test('a second signal ends the process at once', async () => {
  const process = host()
  const stopping = Promise.withResolvers<void>()
  const started = node(() => stopping.promise)
  const running = runUntilSignal(
    async () => started,
    () => process.emit('SIGTERM', 'SIGTERM'),
    logger,
    process,
  )
  await vi.waitFor(() => expect(started.stop).toHaveBeenCalled(), 30_000)
  process.emit('SIGINT', 'SIGINT')
  expect(process.exit).toHaveBeenCalledWith(1)
  stopping.resolve()
  await running
})

test('a signal during the start stops the node when it is up, without telling that it is ready', async () => {
  const process = host()
  const starting = Promise.withResolvers<ReturnType<typeof node>>()
  const onReady = vi.fn()
  const running = runUntilSignal(() => starting.promise, onReady, logger, process)
  process.emit('SIGTERM', 'SIGTERM')
  const started = node()
  starting.resolve(started)
  await running
  expect(started.stop).toHaveBeenCalledTimes(1)
  expect(onReady).not.toHaveBeenCalled()
})

test('a start that fails is one line with its reasons', async () => {
  const process = host()
  const start = async () => {
    throw new Error('the data directory is in use', { cause: new Error('LOCK:\n  held') })
  }
  const running = runUntilSignal(start, () => {}, logger, process)
  await expect(running).rejects.toEqual(new Failure('cannot start: the data directory is in use: LOCK: held'))
  expect(process.eventNames()).toEqual([])
})

test('a stop that fails is told', async () => {
  const process = host()
  const started = node(() => Promise.reject(new Error('disk is gone')))
  const running = runUntilSignal(
    async () => started,
    () => process.emit('SIGTERM', 'SIGTERM'),
    logger,
    process,
  )
  await expect(running).rejects.toThrow('did not stop cleanly: disk is gone')
})

test.each(['unhandledRejection', 'uncaughtException'])('%s is logged and ends the process with 1', async (event) => {
  const process = host()
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line: string) => lines.push(line) })
  const running = runUntilSignal(
    async () => node(),
    () => {
      process.emit(event, new Error('surprise'))
      process.emit('SIGTERM', 'SIGTERM')
    },
    log,
    process,
  )
  await running
  expect(process.exit).toHaveBeenCalledWith(1)
  expect(lines[0]).toContain('surprise')
})

test('reasons name each cause once', () => {
  const refused = new AggregateError([new Error('connect ECONNREFUSED 127.0.0.1:1')])
  expect(reasonText(new TypeError('fetch failed', { cause: refused }))).toBe(
    'fetch failed: connect ECONNREFUSED 127.0.0.1:1',
  )
  expect(reasonText(new Error('a', { cause: new Error('a') }))).toBe('a')
  expect(reasonText('text')).toBe('text')
})
