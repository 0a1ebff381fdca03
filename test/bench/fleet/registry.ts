import { mkdirSync, writeFileSync } from 'node:fs'
import { open, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Tools } from '../../e2e/debian.ts'
import { Child } from '../child.ts'
import { type Host, type Lan, sentFrames } from './lan.ts'

const REGISTRY_PORT = 5000
const SETTLE_STEP_MS = 100
/** So long with next to nothing sent is the end of what clients left behind. */
const SETTLED_STEPS = 8
const SETTLE_DEADLINE_MS = 60_000
/** Frames that are no content: peers and keep-alive are chatting. */
const NOISE_BYTES = 4096

interface RegistryOptions {
  tools: Tools
  lan: Lan
  host: Host
  /** For its configuration and its log. */
  folder: string
  /** Where its content is, or goes. */
  data: string
  /** Base URL of the registry that it is a cache of; otherwise its content does not change. */
  remote?: string
}

/** Debian's docker-registry on a host of the network, which accounts for what it sends. */
export class FleetRegistry implements AsyncDisposable {
  /** Base URL. */
  readonly url: string
  readonly pid: number
  readonly #child: Child
  readonly #log: string

  private constructor(child: Child, url: string, log: string) {
    this.#child = child
    this.url = url
    this.pid = child.pid
    this.#log = log
  }

  static async start({ tools, lan, host, folder, data, remote }: RegistryOptions): Promise<FleetRegistry> {
    mkdirSync(folder, { recursive: true })
    const config = {
      version: '0.1',
      log: { level: 'info', formatter: 'json', accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: data },
        ...(!remote && { maintenance: { readonly: { enabled: true } } }),
      },
      http: { addr: `0.0.0.0:${REGISTRY_PORT}` },
      ...(remote && { proxy: { remoteurl: remote } }),
    }
    const [file, log] = [join(folder, 'config.yml'), join(folder, 'registry.log')]
    writeFileSync(file, JSON.stringify(config)) // JSON is YAML
    const program = join(tools.bookworm, 'usr/bin/docker-registry')
    const [command, ...args] = [...lan.on(host), program, 'serve', file] as [string, ...string[]]
    const child = new Child(`docker-registry at ${host.name}`, log, command, args)
    const registry = new FleetRegistry(child, `http://${host.address}:${REGISTRY_PORT}`, log)
    try {
      await child.ready(async () => (await readFile(log, 'utf8')).includes('"listening on '))
      return registry
    } catch (error) {
      await child.stop()
      throw error
    }
  }

  /** Where the log ends now, for `sentSince`. */
  async mark(): Promise<number> {
    return (await stat(this.#log)).size
  }

  /**
   * Bytes of the bodies of all responses that have ended since the mark, as the registry itself accounts for them. Of a
   * response that its client cut off, what was still in the kernel's buffer is counted with it.
   */
  async sentSince(mark: number): Promise<number> {
    await using file = await open(this.#log)
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(size - mark), position: mark })
    let bytes = 0
    for (const line of buffer.toString('utf8', 0, bytesRead).split('\n')) {
      if (line.includes('"response completed"')) bytes += Number(JSON.parse(line)['http.response.written'] ?? 0)
    }
    return bytes
  }

  /** Waits until its link is quiet: some fetch on after their clients have all that they asked for. */
  async settled(): Promise<void> {
    const until = performance.now() + SETTLE_DEADLINE_MS
    let before = await sentFrames(this.pid)
    for (let quiet = 0; quiet < SETTLED_STEPS && performance.now() < until; quiet++) {
      await sleep(SETTLE_STEP_MS)
      const now = await sentFrames(this.pid)
      if (now - before > NOISE_BYTES) quiet = -1
      before = now
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#child.stop()
  }
}
