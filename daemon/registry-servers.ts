import type { Config, ListenAddress } from '../config/schema.ts'
import { createRegistryApp, type RegistryOptions } from '../proxy/app.ts'
import { listen, type RunningServer } from '../proxy/server.ts'
import type { ServerNames } from '../proxy/web-pages.ts'
import type { Lifecycle } from './lifecycle.ts'

interface ServerOptions {
  readonly config: Config['registry']
  readonly lifecycle: Lifecycle
  readonly app: Omit<RegistryOptions, 'serverNames'>
  readonly names: (listener: ListenAddress) => ServerNames
  /** Told of each that listens. */
  readonly onListening: (address: { readonly registry: string } | { readonly login: string }) => void
}

/** Opens the registry to clients, the one that asks for a login first. @throws where it can't listen */
export async function openRegistryServers({
  config,
  lifecycle,
  app,
  names,
  onListening,
}: ServerOptions): Promise<void> {
  const { listen: address, loginListen, shutdownTimeout } = config
  const servers: RunningServer[] = []
  // Together, as each may take all of the time.
  lifecycle.onStop(() => Promise.all(servers.map((server) => server.stop(shutdownTimeout))))
  const open = async (listener: ListenAddress, option: string, asksForLogin: boolean) => {
    const koa = createRegistryApp({ ...app, serverNames: names(listener), asksForLogin })
    const server = await listen(koa.callback(), { ...listener, option })
    servers.push(server)
    return server.address
  }
  if (loginListen !== undefined) onListening({ login: await open(loginListen, 'registry.loginListen', true) })
  onListening({ registry: await open(address, 'registry.listen', false) })
}
