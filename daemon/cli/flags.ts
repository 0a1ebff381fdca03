import { type Command, Option } from 'commander'
import type { Environment } from '../../config/environment.ts'
import { type Flags, flagOptions } from '../../config/flags.ts'
import { homeFolder } from '../../config/layer.ts'
import { loadConfig } from '../../config/load.ts'
import { options } from '../../config/options.ts'
import type { Config } from '../../config/schema.ts'

export interface ConfigFlags extends Flags {
  readonly config?: string | undefined
}

const registryHelp = 'Add a registry, or change the endpoint of one.'

/** Adds `--config` and the flags of the common options, with the help and the defaults that the schema has. */
export function addConfigFlags(command: Command): Command {
  command.option('--config <file>', 'YAML file with options. (default: the variable LAYERD_CONFIG, or none)')
  for (const { name, usage, path, repeatable } of flagOptions) {
    const option = options.find((candidate) => candidate.path.join('.') === path.join('.'))
    const flag = new Option(usage, name === 'mdns' ? 'Do not find peers by multicast DNS.' : helpOf(option))
    if (repeatable) flag.argParser((value: string, before: readonly string[] = []) => [...before, value])
    command.addOption(flag)
  }
  return command
}

function helpOf(option: (typeof options)[number] | undefined): string {
  if (option === undefined) return `${registryHelp} (repeatable)`
  if (option.kind === 'list') return `${option.help} (repeatable)`
  if (option.kind === 'addresses') return `${option.help} (repeatable; default: ${option.fallback})`
  return option.fallback === undefined ? option.help : `${option.help} (default: ${option.fallback})`
}

/** The effective configuration of this process. @throws {ConfigError} */
export function configOf({ config, mdns, ...flags }: ConfigFlags, env: Environment = process.env): Config {
  return loadConfig({
    file: config,
    env,
    // Commander sets a "--no-" flag's option to true where the flag is absent.
    flags: { ...flags, mdns: mdns === false ? false : undefined },
    cwd: process.cwd(),
    home: homeFolder(),
  })
}
