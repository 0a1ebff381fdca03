import { chmod, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openDataFolder } from '../../daemon/data-folder.ts'
import { tempDir } from '../fixtures/temp-dir.ts'

const modeOf = async (path: string) => ((await stat(path)).mode & 0o7777).toString(8)

function logger() {
  const warnings: object[] = []
  return { warnings, warn: (fields: object) => void warnings.push(fields) }
}

/** A folder as an administrator makes it. */
async function readable(): Promise<string> {
  const folder = join(await tempDir(), 'data')
  await mkdir(join(folder, 'blobs'), { recursive: true })
  await writeFile(join(folder, 'key'), 'secret')
  for (const name of ['.', 'blobs']) await chmod(join(folder, name), 0o755)
  await chmod(join(folder, 'key'), 0o644)
  return folder
}

describe('the data folder', () => {
  it('is made for its user alone', async () => {
    const folder = join(await tempDir(), 'a', 'b')
    await openDataFolder(folder, logger())
    for (const name of ['.', 'blobs', 'meta']) expect(await modeOf(join(folder, name))).toBe('700')
  })

  it('is closed to others where it is there, with the key in it', async () => {
    const folder = await readable()
    const log = logger()
    await openDataFolder(folder, log)
    expect(await modeOf(folder)).toBe('700')
    expect(await modeOf(join(folder, 'blobs'))).toBe('700')
    expect(await modeOf(join(folder, 'key'))).toBe('600')
    expect(log.warnings).toEqual([])
  })

  it('is left as it is where it is another user’s, and the log says so', async () => {
    const folder = await readable()
    const log = logger()
    await openDataFolder(folder, log, 12_345)
    expect(await modeOf(folder)).toBe('755')
    expect(log.warnings).toEqual([
      { path: folder, mode: '755' },
      { path: join(folder, 'blobs'), mode: '755' },
      { path: join(folder, 'key'), mode: '644' },
    ])
  })
})
