import { join } from 'node:path'
import { applyPatch, reversePatch, structuredPatch } from 'diff'
import { z } from 'zod'
import { Failure } from '../failure.ts'
import type { MachineDisk } from './disk.ts'

const schema = z.object({
  version: z.literal(1),
  files: z.array(
    z.object({
      path: z.string(),
      /** Undefined where there was no file. */
      before: z.string().optional(),
      after: z.string(),
      /** Folders that were made for it. */
      folders: z.array(z.string()),
    }),
  ),
})

type Journal = z.output<typeof schema>

/** What a file is to be again; `text` is undefined where it is to be removed. */
export interface Restored {
  readonly path: string
  readonly now: string | undefined
  readonly text: string | undefined
  readonly folders: readonly string[]
}

/** Remembers what files were before they were changed, so that they can be so again, byte for byte. */
export class SetupJournal {
  readonly #disk: MachineDisk
  readonly #path: string
  readonly #journal: Journal

  /** @throws {Failure} where what is there can't be read */
  constructor(disk: MachineDisk, folder: string, client: string) {
    this.#disk = disk
    this.#path = join(folder, `${client}.json`)
    const text = disk.read(this.#path)
    if (text === undefined) {
      this.#journal = { version: 1, files: [] }
      return
    }
    try {
      this.#journal = schema.parse(JSON.parse(text))
    } catch (cause) {
      throw new Failure(`${this.#path} is not what this command writes: move it away, and undo by hand`, { cause })
    }
  }

  /**
   * Changes a file. What it was is on disk before it is changed, so that nothing is lost where this process ends in between.
   * What others have changed since the first time is theirs, and stays when that is undone.
   */
  change(path: string, text: string): void {
    const { files } = this.#journal
    const now = this.#disk.read(path)
    const known = files.find((file) => file.path === path)
    if (known === undefined) files.push({ path, before: now, after: text, folders: [] })
    else Object.assign(known, { before: this.#separated(known, now), after: text })
    this.#save()
    const made = this.#disk.write(path, text, 0o644)
    const file = files.find((one) => one.path === path)
    if (made.length === 0 || file === undefined) return
    file.folders.push(...made)
    this.#save()
  }

  /**
   * What undoes all changes. Where others have changed a file since, only what this command has changed in it is undone.
   * @throws {Failure} where that can't be told apart
   */
  undone(): readonly Restored[] {
    return this.#journal.files.map((file) => {
      const { path, folders } = file
      const now = this.#disk.read(path)
      return { path, now, text: this.#restored(file, now), folders }
    })
  }

  /** Takes note that everything is undone. */
  forget(): void {
    this.#disk.remove(this.#path)
  }

  /** Without what this command has added before; as it is, where others have changed that. */
  #separated(known: Journal['files'][number], now: string | undefined): string | undefined {
    try {
      return this.#restored(known, now)
    } catch {
      return now
    }
  }

  #restored({ path, before, after }: Journal['files'][number], now: string | undefined): string | undefined {
    if (now === after) return before
    // Somebody has removed it, or put the old one back.
    if (now === undefined || now === before) return now
    // Lines around it may have been changed by others.
    const patch = reversePatch(structuredPatch(path, path, before ?? '', after, undefined, undefined, { context: 0 }))
    const text = applyPatch(now, patch, { autoConvertLineEndings: false })
    if (text !== false) return text
    throw new Failure(
      `${path} was changed where this command had changed it; nothing was undone. Take the mirror out by hand; the file as it was is in ${this.#path}, under "before"`,
    )
  }

  #save(): void {
    // It may hold passwords, as the files do.
    this.#disk.write(this.#path, `${JSON.stringify(this.#journal, null, 2)}\n`, 0o600)
  }
}
