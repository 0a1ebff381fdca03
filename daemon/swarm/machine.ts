import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'

/** Where Linux keeps an id that is made when a system is installed, or started for the first time (machine-id(5)). */
const FILES = ['/etc/machine-id', '/var/lib/dbus/machine-id']

/**
 * A hash of the machine's id, which itself is to be kept secret; undefined where there is none, as in most containers.
 * Containers of one image may all have the same.
 */
export async function machineMark(): Promise<string | undefined> {
  for (const file of FILES) {
    const id = (await readFile(file, 'utf8').catch(() => '')).trim()
    // Before the first start of a system made of an image the file says "uninitialized".
    if (/^[0-9a-f]{32}$/.test(id)) return createHash('sha256').update(`layerd ${id}`).digest('hex')
  }
  return undefined
}
