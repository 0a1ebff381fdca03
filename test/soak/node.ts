import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { NodeStatus } from '../../daemon/admin/app.ts'
import { exitOf } from '../e2e/exec.ts'
import type { Answer, Question } from './agent.ts'
import type { Disk } from './disk.ts'
import { within } from './shell.ts'

const PROGRAM = new URL('../../daemon/cli/bin.ts', import.meta.url).pathname
export const REGISTRY_PORT = 5050
const ADMIN_PORT = 5051
/** layerd lets answers that run finish for 30 s, and closes its parts after that. */
const STOP_MS = 60_000
const STATUS_MS = 5_000
/** Where a data folder is on a node's disk. */
const DATA = 'data'

/** How a process ended that nobody ended. */
export type OnExit = (node: Node, how: string) => void

/** What a process uses. */
export interface Use {
  /** Bytes of memory. */
  readonly memory: number
  /** Open files and sockets. */
  readonly files: number
}

/** A node: a machine of its own as far as network, disk and machine-id go, with one layerd that can be ended and started again. */
export class Node {
  readonly name: string
  readonly disk: Disk
  readonly log: string
  readonly #words: readonly string[]
  readonly #environment: NodeJS.ProcessEnv
  readonly #onExit: OnExit
  readonly #agent: ChildProcess
  readonly #waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>()
  #process: ChildProcess | undefined
  #asked = 0

  /** @param machineId file with what is /etc/machine-id for it @param flags of `layerd serve` */
  constructor(name: string, disk: Disk, machineId: string, log: string, flags: readonly string[], onExit: OnExit) {
    this.name = name
    this.disk = disk
    this.log = log
    this.#onExit = onExit
    const serve = [PROGRAM, 'serve', '--data-dir', this.dataDir, ...flags]
    const mounted = `mount --bind ${machineId} /etc/machine-id && exec "$@"`
    this.#words = [...within(name), 'unshare', '--mount', 'sh', '-c', mounted, 'sh', process.execPath, ...serve]
    // Upstream's front tells nodes apart by it, as their addresses change.
    this.#environment = { ...process.env, LAYERD_UPSTREAM_USER_AGENT: name }
    const [command, ...words] = within(name)
    this.#agent = spawn(command, [...words, process.execPath, join(import.meta.dirname, 'agent.ts')], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.#agent.on('message', ({ id, answer, error }: { id: number; answer?: Answer; error?: string }) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (answer !== undefined) waiting?.resolve(answer)
      else waiting?.reject(new Error(error))
    })
  }

  get dataDir(): string {
    return join(this.disk.folder, DATA)
  }

  get isRunning(): boolean {
    return this.#process !== undefined
  }

  start(): void {
    if (this.#process !== undefined) return
    const file = openSync(this.log, 'a')
    const [command = '', ...words] = this.#words
    const child = spawn(command, words, { stdio: ['ignore', file, file], env: this.#environment })
    closeSync(file)
    this.#process = child
    child.once('exit', (code, signal) => {
      if (this.#process !== child) return
      this.#process = undefined
      this.#onExit(this, signal ?? `exit code ${code}`)
    })
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Ends it as a service manager does. @returns how it ended, where it did not as it should */
  async stop(): Promise<string | undefined> {
    const how = await this.#end('SIGTERM')
    return how === 0 || how === undefined ? undefined : `ended by ${how} when it was stopped`
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP')
  }

  thaw(): void {
    this.#process?.kill('SIGCONT')
  }

  /** Asks one of its servers from its own machine. @throws {Error} where nothing is answered in time */
  ask(question: Question): Promise<Answer> {
    const id = ++this.#asked
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.#waiting.set(id, { resolve, reject })
    this.#agent.send({ id, question })
    return promise
  }

  /** What `/readyz` says; undefined where it says yes. */
  async notReady(): Promise<string | undefined> {
    const asked = this.ask({ port: ADMIN_PORT, path: '/readyz', deadline: STATUS_MS, asText: true })
    const { status, text } = await asked.catch((error: Error) => ({ status: 0, text: error.message }))
    return status === 200 ? undefined : `${status} ${text?.trim()}`
  }

  /** @throws {Error} where it does not answer */
  async status(): Promise<NodeStatus> {
    const path = '/api/v1/status'
    const { text = '' } = await this.ask({ port: ADMIN_PORT, path, deadline: STATUS_MS, asText: true })
    return JSON.parse(text) as NodeStatus
  }

  /** What its process uses; undefined where none runs. */
  async use(): Promise<Use | undefined> {
    const pid = this.#process?.pid
    if (pid === undefined) return undefined
    try {
      const memory = Number(/^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024
      return { memory, files: (await readdir(`/proc/${pid}/fd`)).length }
    } catch {
      return undefined
    }
  }

  async #end(signal: NodeJS.Signals): Promise<number | string | undefined> {
    const child = this.#process
    if (child === undefined) return undefined
    this.#process = undefined
    const gone = exitOf(child)
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await gone.finally(() => clearTimeout(timer))
    return child.exitCode ?? child.signalCode ?? 'gone'
  }
}
