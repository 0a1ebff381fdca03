import type { FixtureImage } from '../../fixtures/images/images.ts'
import { MARKS } from '../../fixtures/images/layers.ts'
import type { Tools } from '../debian.ts'

/** Where a client works. */
export interface ClientEnvironment {
  tools: Tools
  /** An empty folder of its own. */
  folder: string
  /** The registry to pull from instead of docker.io: `127.0.0.1:<port>`. */
  mirror: string
  /** Put before repositories where the client names the registry in the path: `docker.io/`, or nothing. */
  prefix: string
  /** Parent cgroup of its containers. */
  cgroup: string
}

/** A kind of container client; each start is one that has never pulled anything. */
export interface Client {
  name: string
  /** Whether it reads zstd layers. */
  zstd: boolean
  /** Whether it pulls all platforms of an index, and `pull` reports everything in them. */
  whole: boolean
  start(environment: ClientEnvironment): Promise<ClientSession>
}

export interface ClientSession {
  /**
   * Pulls the image by its tag.
   *
   * @returns the digests that the client then reports for it, the index's among them.
   */
  pull(image: FixtureImage): Promise<string[]>
  /** Runs a container from what was pulled. @returns what it printed. */
  run(image: FixtureImage): Promise<string>
  /** Ends the client's daemon. Its folder is not needed afterwards. */
  stop(): Promise<void>
}

/** The command of every test container: it prints the mark of each layer that it was made of. */
export const PRINT_MARKS = ['/bin/sh', '-c', `cat /${MARKS}/*`]

/** The image's name as users of Docker write it. */
export function reference(image: FixtureImage): string {
  return `docker.io/${image.repository}:${image.tag}`
}

/** PATH with the given generation's programs, one runc for all, and the machine's own. */
export function pathWith(tools: Tools, root: string): string {
  const own = ['usr/bin', 'usr/sbin'].map((folder) => `${root}/${folder}`)
  // Newer runc than bookworm's needs a newer libc than the machine may have.
  return [`${tools.bookworm}/usr/sbin`, ...own, '/usr/sbin:/usr/bin:/sbin:/bin'].join(':')
}
