import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Tools } from '../e2e/debian.ts'
import { run } from '../e2e/exec.ts'
import { Child } from './child.ts'

/** What is no part of fetching content, and would look for more of the machine than its files. */
const DISABLED = [
  ...[
    'io.containerd.grpc.v1.cri',
    'io.containerd.cri.v1.images',
    'io.containerd.cri.v1.runtime',
    'io.containerd.nri.v1.nri',
  ],
  ...['btrfs', 'devmapper', 'zfs', 'blockfile', 'erofs'].map((name) => `io.containerd.snapshotter.v1.${name}`),
]

/** containerd 2 with nothing but its content store in use. It needs root. */
export class Containerd implements AsyncDisposable {
  readonly #child: Child
  readonly #ctr: string
  readonly #socket: string
  readonly #folder: string

  private constructor(child: Child, ctr: string, socket: string, folder: string) {
    this.#child = child
    this.#ctr = ctr
    this.#socket = socket
    this.#folder = folder
  }

  static async start(tools: Tools, folder: string): Promise<Containerd> {
    mkdirSync(folder, { recursive: true })
    const socket = join(folder, 'containerd.sock')
    const config = `
version = 3
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ${JSON.stringify(DISABLED)}
[grpc]
  address = "${socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/opt"
`
    writeFileSync(join(folder, 'config.toml'), config)
    const [program, ctr] = ['containerd', 'ctr'].map((name) => join(tools.forky, 'usr/bin', name)) as [string, string]
    const child = new Child('containerd', join(folder, 'log'), program, ['--config', join(folder, 'config.toml')])
    const containerd = new Containerd(child, ctr, socket, folder)
    try {
      await child.ready(async () => (await containerd.#call('version')).length > 0)
      return containerd
    } catch (error) {
      await child.stop()
      throw error
    }
  }

  /**
   * Fetches an image's content (`ctr content fetch`) and removes it again.
   *
   * @param mirror base URL of where docker.io's images come from
   * @returns milliseconds that the command took; removing is not in them.
   */
  async fetch(reference: string, mirror: string): Promise<number> {
    const hosts = join(this.#folder, 'hosts')
    mkdirSync(join(hosts, 'docker.io'), { recursive: true })
    const toml = `server = "${mirror}"\n[host."${mirror}"]\n  capabilities = ["pull", "resolve"]\n`
    writeFileSync(join(hosts, 'docker.io/hosts.toml'), toml)
    const began = performance.now()
    await this.#call('content', 'fetch', '--hosts-dir', hosts, reference)
    const ms = performance.now() - began
    // Synchronous: the garbage collector has removed the content when this returns.
    await this.#call('images', 'remove', '--sync', reference)
    const left = (await this.#call('content', 'list', '--quiet')).trim()
    if (left !== '') throw new Error(`containerd still holds ${left}: the next fetch would be none`)
    return ms
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#child.stop()
  }

  #call(...args: string[]): Promise<string> {
    return run(this.#ctr, ['--address', this.#socket, ...args])
  }
}
