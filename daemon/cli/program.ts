import { Command, CommanderError } from 'commander'
import { ConfigError } from '../../config/problems.ts'
import { configCommand } from './config.ts'
import { Failure } from './failure.ts'
import {
  exportCommand,
  gcCommand,
  imagesCommand,
  pinCommand,
  pullCommand,
  refreshCommand,
  rmCommand,
  unpinCommand,
} from './images.ts'
import { importCommand } from './import.ts'
import { readManifest } from './package.ts'
import { serveCommand } from './serve.ts'
import { setupCommand } from './setup.ts'
import { statusCommand } from './status.ts'
import { trustCommand, untrustCommand } from './trust.ts'
import { versionCommand } from './version.ts'

const failed = 1
const badUsage = 2

const moreOptions = `
Every option is listed with its default in config/default.yaml ("layerd config --defaults" prints it).
Each can be set there, by a LAYERD_* variable (LAYERD_STORE_MAX_SIZE for store.maxSize), and the common
ones by a flag of "layerd serve". Flags are stronger than variables, and variables stronger than the file.`

function program(): Command {
  const { version, description } = readManifest()
  const command = new Command('layerd')
    .description(description)
    .version(version, '--version', 'print the version')
    .addHelpText('after', moreOptions)
    // A line for each command, so that all of them are on one screen.
    .configureHelp({ subcommandTerm: (one) => one.name() })
    .addCommand(serveCommand())
    .addCommand(statusCommand())
    .addCommand(imagesCommand())
    .addCommand(pullCommand())
    .addCommand(pinCommand())
    .addCommand(unpinCommand())
    .addCommand(refreshCommand())
    .addCommand(rmCommand())
    .addCommand(gcCommand())
    .addCommand(importCommand())
    .addCommand(exportCommand())
    .addCommand(trustCommand())
    .addCommand(untrustCommand())
    .addCommand(setupCommand())
    .addCommand(configCommand())
    .addCommand(versionCommand())
  for (const each of [command, ...command.commands]) {
    each
      .exitOverride()
      .showHelpAfterError(`(layerd ${each === command ? '' : `${each.name()} `}--help lists what there is)`)
  }
  return command
}

/**
 * Runs one command line.
 * @param args without the names of node and of the script
 * @returns the exit code: 0, 1 where something failed, 2 for bad usage or configuration
 */
export async function run(args: readonly string[]): Promise<number> {
  // `layerd config | head` is no failure, and an archive that nobody reads to its end is one.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    const isText = args[0] !== 'export'
    process.exit(error.code === 'EPIPE' && isText ? 0 : failed)
  })
  try {
    await program().parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    // Commander has printed what it has to say.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : badUsage
    if (error instanceof ConfigError) return complain(error.message, badUsage)
    if (error instanceof Failure) return complain(error.message, failed)
    throw error
  }
}

function complain(message: string, exitCode: number): number {
  process.stderr.write(`layerd: ${message}\n`)
  return exitCode
}
