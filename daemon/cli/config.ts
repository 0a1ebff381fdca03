import { Command } from 'commander'
import { defaultDocument } from '../../config/document.ts'
import { effectiveDocument } from '../../config/effective.ts'
import { addConfigFlags, type ConfigFlags, configOf } from './flags.ts'

export function configCommand(): Command {
  const command = new Command('config')
    .description('print the effective configuration as YAML, with secrets hidden')
    .option('--defaults', 'Print every option with its default and help instead: config/default.yaml.')
  return addConfigFlags(command).action(({ defaults, ...flags }: ConfigFlags & { defaults?: true }) => {
    process.stdout.write(defaults ? defaultDocument() : effectiveDocument(configOf(flags)))
  })
}
