import { spawnSync } from 'node:child_process'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it, onTestFinished, test } from 'vitest'
import { PortableEngine } from '../../../daemon/verify/portable.ts'
import { initialState, loadEngine } from '../../../daemon/verify/sha256.ts'
import { tempDir } from '../../fixtures/temp-dir.ts'
import { buildAddon, withoutNative } from './engines.ts'

const long = new Uint8Array(128 * 1024)

describe('auto', () => {
  it.skipIf(withoutNative)('is the native engine that the install has built (with a C compiler)', async () => {
    const reasons: string[] = []
    const engine = await loadEngine('auto', (reason) => reasons.push(reason))
    expect(reasons, 'run: node daemon/verify/native/build.mjs').toEqual([])
    expect(engine.name).toBe('native')
  })

  it('is the portable engine where there is no addon', async () => {
    const missing = join(await tempDir(), 'sha256.node')
    const reasons: string[] = []
    const engine = await loadEngine('auto', (reason) => reasons.push(reason), missing)
    expect(engine.name).toBe('portable')
    expect(reasons).toEqual([`there is no ${missing}`])
  })

  it.each(['', 'not an addon', '\x7fELF and then nothing'])(
    'is the portable engine for a file with %j',
    async (text) => {
      const corrupt = join(await tempDir(), 'sha256.node')
      await writeFile(corrupt, text)
      const reasons: string[] = []
      expect((await loadEngine('auto', (reason) => reasons.push(reason), corrupt)).name).toBe('portable')
      expect(reasons).toHaveLength(1)
    },
  )
})

test('native says what to do where it is not there', async () => {
  const missing = join(await tempDir(), 'sha256.node')
  const message = /there is no .*sha256\.node\. Install a C compiler .* node .*daemon\/verify\/native\/build\.mjs$/
  await expect(loadEngine('native', undefined, missing)).rejects.toThrow(message)
})

/** A program in place of a compiler. */
async function fakeCompiler(folder: string, script: string): Promise<NodeJS.ProcessEnv> {
  const file = join(folder, 'fake-cc')
  await writeFile(file, `#!/bin/sh\n${script}\n`)
  await chmod(file, 0o755)
  return { ...process.env, CC: file }
}

describe('the build', () => {
  it.skipIf(withoutNative)(
    'says with which compiler it was done, and leaves nothing else (with a C compiler)',
    async () => {
      const folder = await tempDir()
      const { line, file } = buildAddon(folder)
      expect(line).toMatch(/^layerd: native SHA-256 built with .+\n$/)
      expect(await readdir(folder)).toEqual(['sha256.node'])
      expect((await loadEngine('native', undefined, file)).name).toBe('native')
    },
  )

  it('without a compiler says so in one line, and ends well', async () => {
    const folder = await tempDir()
    const { line } = buildAddon(folder, { PATH: folder })
    expect(line).toMatch(
      /^layerd: no native SHA-256 \(no cc, no gcc, no clang\); the portable one is used.*build\.mjs\n$/,
    )
    expect(await readdir(folder)).toEqual([])
  })

  it('with a compiler that fails says why', async () => {
    const folder = await tempDir()
    const env = await fakeCompiler(await tempDir(), 'echo fatal error: no headers >&2; exit 1')
    expect(buildAddon(folder, env).line).toMatch(/^layerd: no native SHA-256 \(.*fatal error: no headers\)/)
    expect(await readdir(folder)).toEqual([])
  })

  it('removes what does not work, an older one as well', async () => {
    const folder = await tempDir()
    await writeFile(join(folder, 'sha256.node'), 'from another machine')
    // The output file is the last argument.
    const env = await fakeCompiler(await tempDir(), 'for file; do :; done; echo garbage > "$file"')
    expect(buildAddon(folder, env).line).toMatch(/^layerd: no native SHA-256 \(it does not work here/)
    expect(await readdir(folder)).toEqual([])
  })

  it('that can not write ends well', async () => {
    const file = join(await tempDir(), 'file')
    await writeFile(file, '')
    expect(buildAddon(file).line).toMatch(/^layerd: no native SHA-256 \(/)
  })
})

describe('the worker of the portable engine', () => {
  async function engineWith(source: string): Promise<PortableEngine> {
    const file = join(await tempDir(), 'worker.mjs')
    await writeFile(file, `import { parentPort, workerData } from 'node:worker_threads'\n${source}`)
    const engine = await PortableEngine.create(pathToFileURL(file))
    onTestFinished(() => engine.close())
    return engine
  }

  it('that ends rejects the call, and the next call has a new one', async () => {
    const engine = await engineWith(`
      let calls = 0
      parentPort.on('message', ({ length }) => {
        if (length === 65536) throw new Error('on purpose')
        if (length === 32768) process.exit(3)
        parentPort.postMessage(new Uint8Array(32).fill(++calls))
      })`)
    const lengths = [131_072, 65_536, 131_072, 131_072, 32_768, 131_072]
    const calls = lengths.map((length) => engine.advance(initialState, long.subarray(0, length)))
    const results = (await Promise.allSettled(calls)).map((call) =>
      call.status === 'fulfilled' ? call.value[0] : String(call.reason),
    )
    const ended = 'Error: the SHA-256 worker ended'
    // Each worker counts from one.
    expect(results).toEqual([1, ended, 1, 2, ended, 1])
  })

  it('keeps the process as long as somebody waits for it, and no longer', async () => {
    const url = new URL('../../../daemon/verify/sha256.ts', import.meta.url)
    const script = `
      const { initialState, loadEngine } = await import('${url}')
      const engine = await loadEngine('portable')
      for (let call = 0; call < 3; call++) await engine.advance(initialState, new Uint8Array(131072))
      process.stdout.write('done')`
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      timeout: 50_000,
    })
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'done' })
  })

  it('that can not start rejects each call', async () => {
    const engine = await engineWith(`throw new Error('on purpose')`)
    for (let call = 0; call < 2; call++) {
      await expect(engine.advance(initialState, long)).rejects.toMatchObject({ cause: { message: 'on purpose' } })
    }
  })

  it('is ended by close, together with the calls that wait for it', async () => {
    const engine = await engineWith(`parentPort.on('message', () => {})`)
    const calls = Promise.allSettled([engine.advance(initialState, long), engine.advance(initialState, long)])
    // Not before the first one has reached the worker.
    await new Promise(setImmediate)
    await engine.close()
    expect((await calls).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    await expect(engine.advance(initialState, long)).rejects.toThrow('closed')
  })
})
