// Builds the native SHA-256 (sha256.c) when layerd is installed. An install never fails for the lack of it: whatever goes
// wrong, one line says so, and the portable implementation is used. Plain JavaScript, as it also runs on Node.js 20 and
// under node_modules.
//
//   node daemon/verify/native/build.mjs [folder to write sha256.node to]

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const script = fileURLToPath(import.meta.url)
const source = join(dirname(script), 'sha256.c')

/** Ms; a compiler needs a fraction of a second. */
const patience = 60_000

const platformFlags = { linux: [], darwin: ['-undefined', 'dynamic_lookup'] }

/** Runs a command and gives undefined, or what went wrong in one line. */
function run(command, args) {
  const { error, signal, status, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: patience })
  if (error !== undefined) return error.code === 'ENOENT' ? `no ${command}` : `${command}: ${error.message}`
  if (status === 0) return undefined
  const lines = stderr.trim().split('\n')
  // Compilers begin with where they are: "In function ...".
  const line = lines.find((text) => /error/i.test(text)) ?? lines[0]
  return `${command} ended with ${signal ?? status}: ${line.trim()}`
}

/** Compiles with the first compiler that can. */
async function compile(file) {
  const flags = platformFlags[process.platform]
  if (flags === undefined) throw new Error(`it is not made for ${process.platform}`)
  const { include_dir: headers } = (await import('node-api-headers')).default
  const compilers = (process.env.CC ?? '').trim() === '' ? ['cc', 'gcc', 'clang'] : [process.env.CC.trim()]
  const problems = []
  for (const compiler of compilers) {
    // $CC may hold arguments, as in "ccache gcc".
    const [command, ...before] = compiler.split(/\s+/)
    const problem = run(command, [...before, '-O2', '-fPIC', '-shared', ...flags, `-I${headers}`, source, '-o', file])
    if (problem === undefined) return compiler
    problems.push(problem)
  }
  throw new Error(problems.join(', '))
}

/** Throws unless the addon gives the SHA-256 of a message that is long enough to be hashed in another thread. */
async function check(file) {
  const addon = { exports: {} }
  process.dlopen(addon, file)
  const message = Buffer.alloc(64 * 1024, 'layerd')
  const padding = Buffer.alloc(64)
  padding[0] = 0x80
  padding.writeBigUInt64BE(BigInt(message.length) * 8n, 56)
  const initial = Buffer.from('6a09e667bb67ae853c6ef372a54ff53a510e527f9b05688c1f83d9ab5be0cd19', 'hex')
  const state = await addon.exports.advance(await addon.exports.advance(initial, message), padding)
  if (!createHash('sha256').update(message).digest().equals(state)) throw new Error('its results are wrong')
}

function remove(file) {
  try {
    rmSync(file, { force: true })
  } catch {
    // In a folder that can't be written to it is nothing of this build's. What loads the addon checks it once more.
  }
}

async function build(folder) {
  const target = join(folder, 'sha256.node')
  const fresh = join(folder, `sha256.${process.pid}.node`)
  try {
    mkdirSync(folder, { recursive: true })
    const compiler = await compile(fresh)
    // In a process of its own: what was compiled wrongly may do anything.
    const problem = run(process.execPath, [script, '--check', fresh])
    if (problem !== undefined) throw new Error(`it does not work here (${problem})`)
    renameSync(fresh, target)
    return `layerd: native SHA-256 built with ${compiler}`
  } catch (error) {
    remove(fresh)
    // An older one may have been built for another machine.
    remove(target)
    return `layerd: no native SHA-256 (${error.message}); the portable one is used, which is slower. For the native one install gcc or clang, then: node ${script}`
  }
}

const [option, file] = process.argv.slice(2)
if (option === '--check') {
  await check(file).catch((error) => {
    process.stderr.write(`${error.message}\n`)
    process.exitCode = 1
  })
} else {
  process.stdout.write(`${await build(option ?? join(dirname(script), 'build'))}\n`)
}
