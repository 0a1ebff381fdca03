import { existsSync } from 'node:fs'
import { cp, mkdir, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from '../e2e/exec.ts'

/** What an install builds with a compiler; without it the compiled program would be slower than an installed one. */
const NATIVE = 'daemon/verify/native'
const ROOT = join(import.meta.dirname, '../..')

/**
 * Makes what the package holds, with the dependencies of the clone.
 *
 * @param source layerd's source tree, by default this one
 * @returns the path of its program
 */
export async function compile(folder: string, source = ROOT): Promise<string> {
  await mkdir(folder, { recursive: true })
  const dist = join(folder, 'dist')
  await run(join(source, 'node_modules/.bin/tsc'), ['-p', join(source, 'tsconfig.build.json'), '--outDir', dist])
  for (const name of ['package.json', 'config']) await cp(join(source, name), join(folder, name), { recursive: true })
  if (existsSync(join(source, NATIVE))) await cp(join(source, NATIVE), join(folder, NATIVE), { recursive: true })
  await symlink(join(source, 'node_modules'), join(folder, 'node_modules'))
  return join(dist, 'daemon/cli/bin.js')
}
