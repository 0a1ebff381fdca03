import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { shell } from './shell.ts'

/** A small disk. It is gone with the mount namespace that it is made in. */
export class Disk {
  readonly kind: 'ext4' | 'tmpfs'
  readonly folder: string

  private constructor(kind: 'ext4' | 'tmpfs', folder: string) {
    this.kind = kind
    this.folder = folder
  }

  /** @param mebibytes its size */
  static async make(kind: 'ext4' | 'tmpfs', folder: string, mebibytes: number): Promise<Disk> {
    await mkdir(folder, { recursive: true })
    const file = `${folder}.disk`
    if (kind === 'tmpfs') await shell(`mount -t tmpfs -o size=${mebibytes}m,mode=755 tmpfs ${folder}`)
    else
      await shell(`truncate -s ${mebibytes}M ${file} && mkfs.ext4 -q -m 0 ${file} && mount -o loop ${file} ${folder}`)
    return new Disk(kind, folder)
  }

  get #foreign(): string {
    return join(this.folder, 'foreign')
  }

  /** Another program writes until nothing is left, and goes on with what the node frees, once. */
  async fill(): Promise<void> {
    await shell(`dd if=/dev/zero of=${this.#foreign} bs=256k 2>/dev/null || true`)
  }

  /** The other program takes what has become free since. */
  async fillUp(): Promise<void> {
    await shell(`dd if=/dev/zero bs=64k 2>/dev/null >> ${this.#foreign} || true`)
  }

  async empty(): Promise<void> {
    await shell(`rm -f ${this.#foreign}`)
  }
}
