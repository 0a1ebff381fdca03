import { Command } from 'commander'
import { addNodeFlags, type NodeFlags } from './node-flags.ts'

interface ImportFlags extends NodeFlags {
  readonly name?: string
}

export function importCommand(): Command {
  const command = new Command('import')
    .description('take images from an archive, as if they were pushed')
    .argument('<source>', 'OCI layout (folder or tar) or archive of "docker save", gzip or not; - for standard input.')
    .option(
      '--name <name[:tag]>',
      'Name of the image here. Without it, a name of the archive such as team/app is localhost/team/app here.',
    )
  const examples = [
    'docker save app:1 | layerd import -',
    'layerd import ./layout --name app:1      then: docker pull localhost:5050/app:1',
  ]
  return addNodeFlags(command, examples).action(async (source: string, flags: ImportFlags) => {
    const { importFrom } = await import('./run/import.ts')
    await importFrom(source, flags)
  })
}
