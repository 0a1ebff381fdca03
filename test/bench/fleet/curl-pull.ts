import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Pull } from './contender.ts'
import type { FleetImage } from './image.ts'
import type { Host, Lan } from './lan.ts'
import { writtenBytes } from './usage.ts'

/** As containerd does by default. */
const LAYERS_AT_ONCE = 3

interface CurlPullOptions {
  lan: Lan
  host: Host
  /** Base URL of the registry or mirror. */
  registry: string
  image: FleetImage
  folder: string
}

/**
 * A client that asks as containerd does: the manifest by its tag, then config and layers, some at once. It throws the bodies
 * away; its lengths are checked. A shell waits for the start and then becomes curl, so that all nodes start at once, and what
 * curl has written to /dev/null is what has come.
 */
export class CurlPull implements Pull {
  readonly pid: number
  readonly finished: Promise<number>
  readonly #child: ChildProcess
  readonly #image: FleetImage
  readonly #manifest: string

  constructor({ lan, host, registry, image, folder }: CurlPullOptions) {
    mkdirSync(folder, { recursive: true })
    const at = (path: string) => `${registry}/v2/${image.repository}/${path}?ns=docker.io`
    this.#image = image
    this.#manifest = join(folder, 'manifest')
    const transfer = (url: string, output: string) => [`url = "${url}"`, `output = "${output}"`]
    const common = ['no-progress-meter', 'noproxy = "*"']
    const manifest = [
      ...common,
      'fail',
      'header = "accept: application/vnd.oci.image.manifest.v1+json"',
      ...transfer(at(`manifests/${image.tag}`), this.#manifest),
    ]
    const blobs = [
      ...common,
      ...['parallel', 'parallel-immediate', `parallel-max = ${LAYERS_AT_ONCE}`],
      String.raw`write-out = "%{http_code} %{size_download}\n"`,
      ...image.blobs.flatMap(({ digest }) => transfer(at(`blobs/${digest}`), '/dev/null')),
    ]
    const files = [manifest, blobs].map((lines, index) => {
      const file = join(folder, `curl-${index}`)
      writeFileSync(file, `${lines.join('\n')}\n`)
      return file
    })
    const script = 'read -r _ && curl -q -K "$0" && exec curl -q -K "$1"'
    const [command, ...args] = [...lan.on(host), 'sh', '-c', script, ...files] as [string, ...string[]]
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stdin?.on('error', () => {}) // one that has ended says why by its exit code
    this.pid = this.#child.pid ?? 0
    this.finished = this.#run()
    // Whoever stops a pull does not ask how it ended.
    this.finished.catch(() => {})
  }

  go(): void {
    this.#child.stdin?.end('\n')
  }

  bytes(): number | undefined {
    return writtenBytes(this.pid)
  }

  stop(): void {
    this.#child.kill('SIGKILL')
  }

  async #run(): Promise<number> {
    const [out, complaints]: [Buffer[], Buffer[]] = [[], []]
    this.#child.stdout?.on('data', (data: Buffer) => out.push(data))
    this.#child.stderr?.on('data', (data: Buffer) => complaints.push(data))
    const { promise, resolve, reject } = Promise.withResolvers<{ code: number | null; at: number }>()
    let at = 0
    this.#child.once('exit', () => {
      at = performance.now()
    })
    this.#child.once('close', (code) => resolve({ code, at }))
    this.#child.once('error', reject)
    const ended = await promise
    const said = (pieces: Buffer[]) => Buffer.concat(pieces).toString().trim()
    if (ended.code !== 0) throw new Error(`curl ended with ${ended.code ?? 'a signal'}: ${said(complaints)}`)
    this.#check(said(out))
    return ended.at
  }

  #check(said: string): void {
    const { blobs, manifest } = this.#image
    const expected = blobs.map(({ size }) => `200 ${size}`)
    const actual = said.split('\n')
    if (expected.sort().join() !== actual.sort().join()) throw new Error(`received ${actual.join(', ')}`)
    const digest = createHash('sha256').update(readFileSync(this.#manifest)).digest('hex')
    if (manifest.digest !== `sha256:${digest}`) throw new Error(`a manifest with ${digest}`)
  }
}
