import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { buildScript } from '../../../daemon/verify/native.ts'
import { loadEngine, type Sha256Engine } from '../../../daemon/verify/sha256.ts'

const compilers = (process.env.CC ?? 'cc,gcc,clang').split(',')
const hasCompiler = compilers.some((name) => spawnSync(name.split(' ')[0] ?? '', ['--version']).status === 0)

/**
 * Without a compiler there is nothing to test the native engine with, and the suites say so; where commits are checked
 * (CI is set) they fail instead.
 */
export const withoutNative = !hasCompiler && !process.env.CI

if (withoutNative)
  process.stderr.write('NOT TESTED: the native SHA-256 engine, as there is no C compiler (cc, gcc, clang)\n')

export const engineNames = ['native', 'portable'] as const

/** Builds the addon from the sources as they are, and gives its file, or the line that the build said. */
export function buildAddon(folder: string, env: NodeJS.ProcessEnv = process.env): { file: string; line: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [buildScript, folder], { encoding: 'utf8', env })
  if (status !== 0) throw new Error(`the build ended with ${status}: ${stderr}`)
  return { file: join(folder, 'sha256.node'), line: stdout }
}

/** Both engines, for a whole test file; the native one is built for it. */
export function useEngines(): (name: 'native' | 'portable') => Promise<Sha256Engine> {
  const folder = mkdtempSync(join(tmpdir(), 'layerd-test-'))
  const engines = new Map<string, Promise<Sha256Engine>>()
  afterAll(async () => {
    for (const engine of await Promise.allSettled(engines.values())) {
      if (engine.status === 'fulfilled') await engine.value.close()
    }
    rmSync(folder, { recursive: true, force: true })
  })
  return (name) => {
    const engine = engines.get(name) ?? loadEngine(name, undefined, name === 'native' ? buildAddon(folder).file : '')
    engines.set(name, engine)
    return engine
  }
}
