import { join } from 'node:path'
import { debianTools, type Tools } from '../e2e/debian.ts'
import { Containerd } from './containerd.ts'
import { Layerd } from './layerd.ts'
import type { Options } from './options.ts'
import type { Row } from './report.ts'

/** Something cannot be measured on this machine, which is not a failure of what would be measured. */
export class LeftOut extends Error {}

/** A part of the bench that can be run alone. */
export interface Section {
  /** For `--only`. */
  name: string
  title: string
  /** @throws {LeftOut} */
  run(bench: Bench): Promise<Row[]>
}

/** What a section works with. */
export class Bench {
  readonly options: Options
  /** Folder of this section, which is removed after it. */
  readonly folder: string
  readonly #log: (line: string) => void
  readonly #leaveOut: (reason: string) => void
  #nodes = 0

  constructor(options: Options, folder: string, log: (line: string) => void, leaveOut: (reason: string) => void) {
    this.options = options
    this.folder = folder
    this.#log = log
    this.#leaveOut = leaveOut
  }

  /** Says what is being done, for the person who waits. */
  log(line: string): void {
    this.#log(line)
  }

  /** Debian's registries, caches and clients. @throws {LeftOut} where they can't be had */
  async tools(): Promise<Tools> {
    try {
      return await debianTools((line) => this.log(line))
    } catch (error) {
      const [reason] = (error instanceof Error ? error.message : String(error)).split('\n')
      throw new LeftOut(`docker-registry, nginx and containerd come from Debian's packages: ${reason}`)
    }
  }

  /** containerd, or nothing where it can't run; that is then said in the report. */
  async containerd(tools: Tools): Promise<Containerd | undefined> {
    if (process.getuid?.() === 0) return await Containerd.start(tools, join(this.folder, 'containerd'))
    this.#leaveOut('ctr content fetch: containerd needs root')
    return undefined
  }

  /** A node with an empty data directory of its own, which is removed when the node is disposed of. */
  startLayerd(
    upstream: string,
    seeds: readonly Layerd[] = [],
    program?: string,
    settings?: NodeJS.ProcessEnv,
  ): Promise<Layerd> {
    const folder = join(this.folder, `layerd-${this.#nodes++}`)
    return Layerd.start({ folder, upstream, seeds, profile: this.options.profile, program, settings })
  }
}

/** Bytes and milliseconds as the rate that the field speaks of. */
export function megabytesPerSecond(bytes: number, ms: number): number {
  return bytes / 1e6 / (ms / 1000)
}

/** `400 MB`. */
export function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1e6)} MB`
}
