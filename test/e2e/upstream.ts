import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Daemon, freePort, waitFor } from './exec.ts'
import type { Jail } from './jail.ts'

const PROBE_DEADLINE_MS = 2_000

/** Debian's docker-registry, as the registry that images come from. */
export class Upstream {
  /** Base address, for example `http://127.0.0.1:5000`. */
  readonly url: string
  readonly #daemon: Daemon

  private constructor(url: string, daemon: Daemon) {
    this.url = url
    this.#daemon = daemon
  }

  /**
   * Starts an empty registry in the work folder.
   *
   * @param htpasswd who may read and write, as lines of Apache's password file with bcrypt hashes; everybody without.
   */
  static async start({ tools, work }: Jail, htpasswd?: string): Promise<Upstream> {
    const folder = join(work, 'upstream')
    await mkdir(folder, { recursive: true })
    const port = await freePort()
    const file = join(folder, 'config.yml')
    const storage = { filesystem: { rootdirectory: join(folder, 'data') } }
    const path = join(folder, 'htpasswd')
    if (htpasswd !== undefined) await writeFile(path, htpasswd)
    const auth = htpasswd === undefined ? {} : { auth: { htpasswd: { realm: 'upstream', path } } }
    // JSON is YAML.
    await writeFile(file, JSON.stringify({ version: '0.1', storage, http: { addr: `127.0.0.1:${port}` }, ...auth }))
    const program = join(tools.bookworm, 'usr/bin/docker-registry')
    const daemon = new Daemon('docker-registry', join(folder, 'log'), program, ['serve', file])
    const upstream = new Upstream(`http://127.0.0.1:${port}`, daemon)
    await daemon.ready(async () => (await upstream.answers()) || undefined)
    return upstream
  }

  /** Whether it answers a request within a short time. */
  answers(): Promise<boolean> {
    return fetch(`${this.url}/v2/`, { signal: AbortSignal.timeout(PROBE_DEADLINE_MS) }).then(
      (response) => response.ok || response.status === 401,
      () => false,
    )
  }

  /** Switches it off: connections are refused from then on. */
  async off(): Promise<void> {
    await this.#daemon.stop('SIGKILL')
    await waitFor('upstream off', async () => !(await this.answers()), PROBE_DEADLINE_MS)
  }

  /** Makes it hang: connections are made, and nothing is ever answered. */
  async freeze(): Promise<void> {
    this.#daemon.signal('SIGSTOP')
    await waitFor('upstream frozen', async () => !(await this.answers()), 2 * PROBE_DEADLINE_MS)
  }

  /** Ends a frozen state. */
  thaw(): void {
    this.#daemon.signal('SIGCONT')
  }

  stop(): Promise<void> {
    return this.#daemon.stop('SIGKILL')
  }
}
