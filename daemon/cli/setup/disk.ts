import {
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { Failure } from '../failure.ts'
import type { Disk } from './client.ts'

/** As Linux follows at most (path_resolution(7)). */
const MAX_LINKS = 40

/** Configuration files have a few kilobytes, in bytes. */
const maxFileSize = 4 * 2 ** 20

/** A machine's files, below a folder where another machine's are mounted there. @throws {Failure} where rights or room are missing */
export class MachineDisk implements Disk {
  readonly #root: string

  /**
   * @param root `/`, or where the machine's files are mounted
   * @throws {Failure} where that is no folder
   */
  constructor(root: string) {
    if (statSync(root, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new Failure(`${root} is no folder: --root is where the machine's files are mounted`)
    }
    this.#root = root
  }

  read(path: string): string | undefined {
    return this.#find(path, () => {
      const place = this.#place(path)
      if (statSync(place).size > maxFileSize) throw new Failure(`${path} is too large for a configuration file`)
      return readFileSync(place, 'utf8')
    })
  }

  list(folder: string): readonly string[] {
    const names = this.#find(folder, () => {
      const place = this.#place(folder)
      return statSync(place).isDirectory() ? readdirSync(place) : []
    })
    return (names ?? []).sort()
  }

  /**
   * Writes a file whole or not at all, with the rights and the owner that it has. What a symbolic link leads to is written.
   * @param mode of a new file
   * @returns the folders that were made for it, the deepest last
   */
  write(path: string, text: string, mode: number): readonly string[] {
    const made: string[] = []
    this.#try(path, () => {
      for (let folder = dirname(path); !this.#exists(folder); folder = dirname(folder)) made.unshift(folder)
      for (const folder of made) mkdirSync(join(this.#root, folder), { mode: 0o755 })
      const place = this.#place(path)
      const before = this.#exists(path) ? statSync(place) : undefined
      const temporary = `${place}.layerd-${process.pid}`
      try {
        writeFileSync(temporary, text, { mode: before === undefined ? mode : before.mode & 0o7777, flush: true })
        if (before !== undefined) chownSync(temporary, before.uid, before.gid)
        renameSync(temporary, place)
      } finally {
        rmSync(temporary, { force: true })
      }
    })
    return made
  }

  remove(path: string): void {
    this.#try(path, () => rmSync(join(this.#root, path), { force: true }))
  }

  /** Removes folders that are empty, the deepest first. */
  removeEmpty(folders: readonly string[]): void {
    for (const folder of [...folders].reverse()) {
      try {
        rmdirSync(join(this.#root, folder))
      } catch {
        // Others use it.
      }
    }
  }

  #exists(path: string): boolean {
    try {
      lstatSync(join(this.#root, path))
      return true
    } catch {
      return false
    }
  }

  /** Where a path leads, with links followed as on the machine itself: an absolute one begins at its root. */
  #place(path: string): string {
    let left = path.split('/').filter((name) => name !== '')
    let at = '/'
    for (let links = 0; left.length > 0; ) {
      const [name = '', ...rest] = left
      const next = join(at, name)
      const target = this.#linkAt(next)
      if (target !== undefined && ++links > MAX_LINKS) throw new Failure(`${path} has too many symbolic links`)
      left = target === undefined ? rest : [...target.split('/').filter((part) => part !== ''), ...rest]
      if (target === undefined) at = next
      else if (isAbsolute(target)) at = '/'
    }
    return join(this.#root, at)
  }

  #linkAt(path: string): string | undefined {
    try {
      return readlinkSync(join(this.#root, path))
    } catch {
      return undefined
    }
  }

  /** What is at a path; undefined where nothing is. */
  #find<T>(path: string, action: () => T): T | undefined {
    return this.#try(path, () => {
      try {
        return action()
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
        throw error
      }
    })
  }

  #try<T>(path: string, action: () => T): T {
    try {
      return action()
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (error instanceof Failure || code === undefined) throw error
      const advice = code === 'EACCES' || code === 'EPERM' ? ': run this as root (sudo)' : ''
      throw new Failure(`${join(this.#root, path)} can't be read or written (${code})${advice}`, { cause: error })
    }
  }
}
