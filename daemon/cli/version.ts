import { Command } from 'commander'
import { readManifest } from './package.ts'

export function versionCommand(): Command {
  return new Command('version').description('print the versions of layerd and of Node.js').action(() => {
    const { name, version } = readManifest()
    process.stdout.write(`${name} ${version} (Node.js ${process.versions.node}, ${process.platform} ${process.arch})\n`)
  })
}
