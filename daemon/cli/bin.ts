#!/usr/bin/env node
// Node 20 fails deep inside a dependency; say so here. Imports come after, since they would fail first.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 22 || (major === 22 && minor < 18)) {
  process.stderr.write(`layerd: needs Node.js 22.18 or newer; this is ${process.versions.node}\n`)
  process.exit(1)
}
const { run } = await import('./program.ts')
process.exitCode = await run(process.argv.slice(2))
