import type { Command } from 'commander'

/** By which a command finds its node. */
export interface NodeFlags {
  readonly config?: string
  readonly dataDir?: string
  readonly json?: true
}

export interface PullFlags extends NodeFlags {
  readonly platform?: readonly string[]
}

export interface ExportFlags extends NodeFlags {
  readonly platform?: string
}

const exitCodes = `
Exit codes: 0 done, 1 failed or no node runs, 2 bad usage or configuration.`

/** Adds the flags by which a command finds its node, and the end of its help. @param examples lines of a shell */
export function addNodeFlags(command: Command, examples: readonly string[]): Command {
  return command
    .option('--data-dir <folder>', 'Data folder of the node. (default: as for "layerd serve")')
    .option('--config <file>', 'YAML file that the node runs with.')
    .option('--json', 'Print what the node answers as JSON.')
    .addHelpText('after', `\nExamples:\n${examples.map((line) => `  ${line}`).join('\n')}\n${exitCodes}`)
}
