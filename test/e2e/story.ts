import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildImages, buildSmallImage, type FixtureImage, type Fixtures } from '../fixtures/images/images.ts'
import { type Login, pushLayout } from '../fixtures/images/push.ts'
import type { ClientEnvironment } from './clients/client.ts'
import { run, waitFor } from './exec.ts'
import type { Jail } from './jail.ts'
import { type LayerdNode, type NodeOptions, startNode } from './node.ts'
import { Upstream } from './upstream.ts'

const CLIENT_LOG_CHARACTERS = 3_000
const JOIN_DEADLINE_MS = 60_000

/** An upstream registry that holds the fixture images, and nodes around it. */
export class Story<Images = Fixtures> {
  readonly jail: Jail
  readonly upstream: Upstream
  readonly images: Images
  readonly #nodes: LayerdNode[] = []
  #clients = 0

  private constructor(jail: Jail, upstream: Upstream, images: Images) {
    this.jail = jail
    this.upstream = upstream
    this.images = images
  }

  /** Builds the images and starts a registry that holds them. */
  static async begin(jail: Jail): Promise<Story> {
    const upstream = await Upstream.start(jail)
    const images = buildImages(join(jail.work, 'images'), await readFile(join(jail.tools.bookworm, 'bin/busybox')))
    await pushLayout(images.layout, upstream.url)
    await rm(images.layout, { recursive: true }) // the registry has a copy
    return new Story(jail, upstream, images)
  }

  /**
   * Starts a registry that holds one small image.
   *
   * @param htpasswd who may read and write, where not everybody may; `login` is one of them
   */
  static async beginSmall(jail: Jail, htpasswd?: string, login?: Login): Promise<Story<FixtureImage>> {
    const upstream = await Upstream.start(jail, htpasswd)
    const layout = join(jail.work, 'images')
    const image = buildSmallImage(layout, await readFile(join(jail.tools.bookworm, 'bin/busybox')))
    await pushLayout(layout, upstream.url, login)
    await rm(layout, { recursive: true })
    return new Story(jail, upstream, image)
  }

  /** Starts a registry that holds the images which are built in a folder. */
  static async beginWith<Images>(
    jail: Jail,
    build: (folder: string, busybox: Buffer) => Images,
  ): Promise<Story<Images>> {
    const upstream = await Upstream.start(jail)
    const layout = join(jail.work, 'images')
    const images = build(layout, await readFile(join(jail.tools.bookworm, 'bin/busybox')))
    await pushLayout(layout, upstream.url)
    await rm(layout, { recursive: true })
    return new Story(jail, upstream, images)
  }

  /** Starts a node; with a seed, waits until both have met. */
  async node(
    name: string,
    options: Pick<NodeOptions, 'seed' | 'mdns' | 'login' | 'args' | 'settings'> = {},
  ): Promise<LayerdNode> {
    const node = await startNode({ ...options, jail: this.jail, name, upstream: this.upstream.url })
    this.#nodes.push(node)
    if (options.seed) await waitFor(`${name} to join`, async () => (await node.peers()) > 0, JOIN_DEADLINE_MS)
    return node
  }

  /** Arguments that close the swarm: of strangers nobody takes the word on a tag. */
  async closedSwarm(): Promise<readonly string[]> {
    const key = join(this.jail.work, 'swarm.key')
    await writeFile(key, `/key/swarm/psk/1.0.0/\n/base16/\n${'5c'.repeat(32)}\n`, { mode: 0o600 })
    return ['--swarm-key', key]
  }

  /** Gives a client an empty folder and the node as its mirror; the folder is gone afterwards. */
  async at<T>(node: LayerdNode, work: (environment: ClientEnvironment) => Promise<T>): Promise<T> {
    const folder = join(this.jail.work, `client-${++this.#clients}`)
    await mkdir(folder, { recursive: true })
    const { tools, cgroup } = this.jail
    try {
      return await work({ tools, cgroup, folder, mirror: node.address, prefix: node.prefix })
    } catch (error) {
      const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '')
      if (log) console.error(`the client's daemon said:\n${log.slice(-CLIENT_LOG_CHARACTERS)}`)
      throw error
    } finally {
      await unmountBelow(folder)
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Prints what the nodes have said last, to explain a failure. */
  async showLogs(): Promise<void> {
    for (const node of this.#nodes) console.error(`${node.name} said:\n${await node.log()}`)
  }

  async end(): Promise<void> {
    await Promise.all([...this.#nodes.map((node) => node.stop()), this.upstream.stop()])
  }
}

/** Docker and podman leave some folders mounted, each its own. The last mount is on top. */
async function unmountBelow(folder: string): Promise<void> {
  const mounts = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').map((line) => line.split(' ')[4] ?? '')
  for (const mount of mounts.filter((path) => path.startsWith(`${folder}/`)).reverse()) await run('umount', [mount])
}
