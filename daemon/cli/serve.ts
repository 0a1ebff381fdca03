import { Command } from 'commander'
import { unusableProxies } from '../../config/proxy-environment.ts'
import { addConfigFlags, type ConfigFlags, configOf } from './flags.ts'
import { runUntilSignal } from './lifecycle.ts'
import { createLogger } from './logger.ts'
import { readManifest } from './package.ts'

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('run a node until SIGTERM or SIGINT')
    .addHelpText(
      'after',
      '\nEvery option is listed in config/default.yaml ("layerd config --defaults") and can be a LAYERD_* variable.',
    )
  return addConfigFlags(command).action(async (flags: ConfigFlags) => {
    const config = configOf(flags)
    const logger = createLogger(config.log)
    for (const variable of unusableProxies(process.env)) {
      logger.warn(
        { variable },
        'this proxy can not be used: only http:// and https:// ones are; registries are asked directly',
      )
    }
    const start = async () => {
      // Here rather than above: libp2p takes most of the time that a process needs to come up.
      const { startNode } = await import('../main.ts')
      return startNode(config, logger, readManifest().version)
    }
    const greet = ({ addresses }: { readonly addresses: { readonly registry: string } }) => {
      if (process.stdout.isTTY) process.stdout.write(usageHint(addresses.registry))
    }
    await runUntilSignal(start, greet, logger, process)
    // Whatever a dependency has left open does not keep a stopped node from ending.
    process.exit(0)
  })
}

/** How clients are pointed at a node, for a person who has just started one. */
export function usageHint(registryAddress: string): string {
  const address = registryAddress.replace(/^http:\/\//, '').replace(/^(?:0\.0\.0\.0|\[::\]):/, '127.0.0.1:')
  return [
    `  any client:  docker pull ${address}/docker.io/library/alpine   (podman: --tls-verify=false)`,
    `  Docker:      "registry-mirrors": ["http://${address}"]   in /etc/docker/daemon.json`,
    `  containerd:  [host."http://${address}"]   in /etc/containerd/certs.d/_default/hosts.toml`,
    '',
  ].join('\n')
}
