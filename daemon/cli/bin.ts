#!/usr/bin/env node
import module from 'node:module'
import { isAbsolute, join } from 'node:path'
import { setFlagsFromString } from 'node:v8'

// Node 20 fails deep inside a dependency; say so here. Imports come after, since they would fail first.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(`layerd: needs Node.js 22.18 or newer; this is ${process.versions.node}\n`)
  process.exit(1)
}
// Blobs pass through 64 KiB buffers outside of V8's heap. With its default young generation V8 frees them by full
// collections of the whole heap; with a small one, cheap collections free them first. Before anything is allocated.
setFlagsFromString('--max-semi-space-size=2')
setFlagsFromString('--semi-space-growth-factor=1')
// What waits for a disk or for a peer outlives the young generation. By default V8 lets the old one grow to several times what is in use
// before it looks for what is garbage there; a flood of messages then holds 200 MB more.
setFlagsFromString('--heap-growing-percent=50')
// Compiling hundreds of modules takes a quarter of a start. In the user's own folder: Node's default is below /tmp, where
// others could put code for us to run. Where it can't be written, Node goes on without.
const { HOME = '', XDG_CACHE_HOME = '' } = process.env
const cache = isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(HOME, '.cache')
if (isAbsolute(cache)) module.enableCompileCache(join(cache, 'layerd', 'compiled'))
const { run } = await import('./program.ts')
process.exitCode = await run(process.argv.slice(2))
