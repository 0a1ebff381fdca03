import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { exitOf } from '../e2e/exec.ts'

const READY_DEADLINE_MS = 20_000
/** Fine enough to tell times to start apart. */
const READY_POLL_MS = 4
/** A daemon finishes its responses first; nobody has one open any more when it is stopped here. */
const STOP_DEADLINE_MS = 5_000

const running = new Set<ChildProcess>()
// Also where the bench fails or is interrupted.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** A daemon of the bench. What sets it apart from the end-to-end tests' is that it is measured: it has a pid. */
export class Child implements AsyncDisposable {
  readonly name: string
  readonly pid: number
  readonly #process: ChildProcess
  readonly #log: string
  #stopping = false

  /** @param log file for what it prints */
  constructor(name: string, log: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.name = name
    this.#log = log
    const file = openSync(log, 'a')
    this.#process = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', file, file] })
    // A program that is not there shows by having no pid; `ready` tells it.
    this.#process.once('error', () => {})
    this.pid = this.#process.pid ?? 0
    if (this.pid === 0) return
    running.add(this.#process)
    this.#process.once('exit', (code, signal) => {
      running.delete(this.#process)
      // Otherwise only what its clients say would be seen.
      if (!this.#stopping) console.error(`${name} ended by itself: ${signal ?? `exit ${code}`}`)
    })
  }

  /**
   * Waits until the probe succeeds.
   *
   * @throws Error with the end of the log when the program ends or the deadline passes first.
   */
  async ready(probe: () => Promise<boolean>): Promise<void> {
    const until = performance.now() + READY_DEADLINE_MS
    while (running.has(this.#process) && performance.now() < until) {
      if (await probe().catch(() => false)) return
      await sleep(READY_POLL_MS)
    }
    const reason = running.has(this.#process) ? `not ready within ${READY_DEADLINE_MS} ms` : 'ended'
    throw new Error(`${this.name}: ${reason}\n${(await readFile(this.#log, 'utf8')).slice(-2000)}`)
  }

  /** Ends the program, by force when it takes too long, and waits until it is gone. */
  async stop(): Promise<void> {
    if (!running.has(this.#process)) return
    this.#stopping = true
    const gone = exitOf(this.#process)
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_DEADLINE_MS)
    await gone
    clearTimeout(timer)
  }

  /** kill -9, and waits until the program is gone. */
  async kill(): Promise<void> {
    if (!running.has(this.#process)) return
    this.#stopping = true
    const gone = exitOf(this.#process)
    this.#process.kill('SIGKILL')
    await gone
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}

/** Whether something on this machine listens at a port. */
export async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } finally {
    socket.destroy()
  }
}
