import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Tools } from '../e2e/debian.ts'
import { Daemon, run } from '../e2e/exec.ts'
import type { Asked, Counted, Given, Mode } from './front.ts'
import { REGISTRY_ADDRESS, UPSTREAM_HOST } from './lan.ts'
import { within } from './shell.ts'

const PORT = 5000
/** The registry itself, behind its front. */
const REGISTRY_PORT = 5001

export type UpstreamEvent = Asked | Given | Counted

/** Debian's docker-registry in the namespace behind the gateway, and a front that counts what it gives and can be made to fail. */
export class Upstream {
  static readonly url = `http://${REGISTRY_ADDRESS}:${PORT}`
  readonly #registry: Daemon
  readonly #front: ChildProcess

  private constructor(registry: Daemon, front: ChildProcess) {
    this.#registry = registry
    this.#front = front
  }

  /** @param folder for what it stores @param logs for what it says @param seed of where bodies are cut */
  static async start(
    tools: Tools,
    folder: string,
    logs: string,
    seed: number,
    onEvent: (event: UpstreamEvent) => void,
  ): Promise<Upstream> {
    await mkdir(folder, { recursive: true })
    const config = {
      version: '0.1',
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(folder, 'data') } },
      http: { addr: `127.0.0.1:${REGISTRY_PORT}` },
    }
    const file = join(folder, 'config.yml')
    // JSON is YAML.
    await writeFile(file, JSON.stringify(config))
    const program = join(tools.bookworm, 'usr/bin/docker-registry')
    const [command, ...words] = within(UPSTREAM_HOST)
    const registry = new Daemon('docker-registry', join(logs, 'registry.log'), command, [
      ...words,
      program,
      'serve',
      file,
    ])
    await registry.ready(async () => {
      await run(command, [...words, 'curl', '-sf', `http://127.0.0.1:${REGISTRY_PORT}/v2/`])
      return true
    })
    const front = spawn(
      command,
      [
        ...words,
        process.execPath,
        join(import.meta.dirname, 'front.ts'),
        REGISTRY_ADDRESS,
        String(PORT),
        String(REGISTRY_PORT),
        String(seed),
      ],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    )
    await once(front, 'message')
    front.on('message', onEvent)
    return new Upstream(registry, front)
  }

  get isRunning(): boolean {
    return this.#registry.running && this.#front.exitCode === null && this.#front.signalCode === null
  }

  set(mode: Mode): void {
    this.#front.send(mode)
  }

  /** Pushes what a layout names, past the front. */
  async push(layout: string): Promise<void> {
    const [command, ...words] = within(UPSTREAM_HOST)
    const program = join(import.meta.dirname, 'push.ts')
    await run(command, [...words, process.execPath, program, layout, `http://127.0.0.1:${REGISTRY_PORT}`])
  }
}
