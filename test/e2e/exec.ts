import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Longest that one program of a test may run; a cold pull of 200 MB with unpacking takes a few seconds. */
const COMMAND_DEADLINE_MS = 180_000
/** Time from SIGTERM to SIGKILL for a daemon. */
const STOP_DEADLINE_MS = 5_000
const POLL_MS = 25

export interface RunOptions {
  cwd?: string
  env?: NodeJS.ProcessEnv
  /** Written to standard input, which is empty otherwise. */
  input?: Buffer | string
  /** Milliseconds until the program is killed and the call rejects. */
  deadlineMs?: number
}

/**
 * Runs a program to its end and gives its standard output.
 *
 * @throws Error with the command, the exit code and the end of its output, when it fails or passes its deadline.
 */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { input, deadlineMs = COMMAND_DEADLINE_MS, ...rest } = options
  const child = spawn(command, args, { ...rest, stdio: ['pipe', 'pipe', 'pipe'] })
  const out: Buffer[] = []
  const err: Buffer[] = []
  child.stdout.on('data', (data: Buffer) => out.push(data))
  child.stderr.on('data', (data: Buffer) => err.push(data))
  child.stdin.on('error', () => {}) // a program that ends early says why through its exit code
  child.stdin.end(input)
  let late = false
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, deadlineMs)
  try {
    const code = await exitOf(child, 'close')
    const stdout = Buffer.concat(out).toString()
    if (code === 0) return stdout
    const reason = late ? `no end within ${deadlineMs} ms` : `exit ${code}`
    const tail = `${stdout}\n${Buffer.concat(err)}`.slice(-4000)
    throw new Error(`${command} ${args.join(' ')}: ${reason}\n${tail}`)
  } finally {
    clearTimeout(timer)
  }
}

/** Resolves with the exit code, or the signal's name, once the process has ended; rejects when it cannot be started. */
export function exitOf(child: ChildProcess, event: 'close' | 'exit' = 'exit'): Promise<number | string> {
  if (event === 'exit' && (child.exitCode !== null || child.signalCode !== null)) {
    return Promise.resolve(child.exitCode ?? child.signalCode ?? 'gone')
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once(event, (code: number | null, signal: NodeJS.Signals | null) => resolve(code ?? signal ?? 'gone'))
  })
}

/** A daemon of a test: its output goes to a file, and it is gone after `stop`. */
export class Daemon {
  readonly name: string
  readonly logFile: string
  readonly #child: ChildProcess
  #failure: Error | undefined

  constructor(name: string, logFile: string, command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.name = name
    this.logFile = logFile
    this.#child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    const log = createWriteStream(logFile)
    this.#child.stdout?.pipe(log, { end: false })
    this.#child.stderr?.pipe(log, { end: false })
    this.#child.once('error', (error) => {
      this.#failure = error
    })
    this.#child.once('close', () => log.end())
  }

  get running(): boolean {
    return this.#failure === undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** The end of what the daemon has said so far, for the message of a failing test. */
  async log(characters = 3000): Promise<string> {
    return (await readFile(this.logFile, 'utf8').catch(() => '')).slice(-characters)
  }

  /**
   * Waits until the probe answers with something other than `undefined`.
   *
   * @throws Error with the end of the log when the daemon ends or the deadline passes first.
   */
  async ready<T>(probe: () => Promise<T | undefined>, deadlineMs = 60_000): Promise<T> {
    const until = Date.now() + deadlineMs
    while (this.running && Date.now() < until) {
      const answer = await probe().catch(() => undefined)
      if (answer !== undefined) return answer
      await sleep(POLL_MS)
    }
    const reason = this.running
      ? `not ready within ${deadlineMs} ms`
      : `ended (${this.#failure ?? this.#child.exitCode})`
    throw new Error(`${this.name}: ${reason}\n${await this.log()}`)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends the daemon, by force when it takes too long, and waits until it is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.running) return
    const gone = exitOf(this.#child)
    this.#child.kill(signal)
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_DEADLINE_MS)
    await gone
    clearTimeout(timer)
  }
}

/** Polls until the condition holds; for states that no event tells. */
export async function waitFor(what: string, condition: () => Promise<boolean>, deadlineMs: number): Promise<void> {
  const until = Date.now() + deadlineMs
  while (!(await condition())) {
    if (Date.now() > until) throw new Error(`${what}: not within ${deadlineMs} ms`)
    await sleep(POLL_MS)
  }
}

/** Below the range from which the kernel takes ports for outgoing connections, so that no client can be in the way. */
let nextPort = 20_000

/** A TCP port on loopback that is free and that this process has not given out before. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = nextPort++
    if (await canListen(port)) return port
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
