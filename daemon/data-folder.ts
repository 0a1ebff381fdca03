import { chmod, mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'

/** What only this user may read: private layers, who may have them, and the identity. */
const privateFolders = ['.', 'blobs', 'meta'] as const
const privateFiles = ['key', 'machine'] as const

/** Bits of a mode that are for others than the owner. */
const forOthers = 0o077

/**
 * Makes the data folder, or takes away what others may do in one that is there: an administrator, or an earlier version, may have made
 * it. What belongs to another user is left as it is, and the log says so.
 * @throws where the folder can't be made
 */
export async function openDataFolder(
  dataDir: string,
  logger: Pick<Logger, 'warn'>,
  user = process.getuid?.(),
): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  // These are closed also where the folder itself can't be. Whoever needs them says so where they can't be made.
  for (const name of privateFolders) await mkdir(join(dataDir, name), { mode: 0o700 }).catch(() => {})
  // Elsewhere (Windows) modes say nothing.
  if (user === undefined) return
  for (const name of [...privateFolders, ...privateFiles]) {
    const path = join(dataDir, name)
    const found = await stat(path).catch(() => undefined)
    if (found === undefined || (found.mode & forOthers) === 0) continue
    const mode = found.mode & 0o7777 & ~forOthers
    const isTightened =
      found.uid === user &&
      (await chmod(path, mode).then(
        () => true,
        () => false,
      ))
    if (isTightened) continue
    logger.warn(
      { path, mode: (found.mode & 0o777).toString(8) },
      'others than the user of this node can read or change what it keeps, private layers too: make the folder its own, with mode 0700',
    )
  }
}
