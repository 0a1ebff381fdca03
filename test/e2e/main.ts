import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { exitOf } from './exec.ts'
import { prepare, runJailed } from './jail.ts'

// node test/e2e/main.ts [vitest's arguments]: runs the end-to-end tests inside a jail.
// Where that is impossible vitest runs all the same, lists what is left out and says why; with CI set it fails.

const root = join(import.meta.dirname, '../..')
process.chdir(root)
const vitest = join(root, 'node_modules/vitest/vitest.mjs')
if (!existsSync(vitest)) throw new Error('vitest is not installed: run npm ci')
const args = [
  vitest,
  'run',
  '--config',
  'test/e2e/vitest.config.ts',
  '--configLoader',
  'native',
  ...process.argv.slice(2),
]
const ready = await prepare((line) => console.error(`e2e: ${line}`))
if ('tools' in ready) {
  process.exitCode = await runJailed(ready.tools, process.execPath, args)
} else {
  console.error(`e2e: the end-to-end tests are left out: ${ready.reason}`)
  const env = { ...process.env, LAYERD_E2E_LEFT_OUT: ready.reason }
  const code = await exitOf(spawn(process.execPath, args, { env, stdio: 'inherit' }))
  process.exitCode = process.env.CI || typeof code !== 'number' ? 1 : code
}
