import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { parseDockerConfig } from '../proxy/upstream/docker-config.ts'

/** Says once at start who is served with the credentials of this node, where it has any. */
export async function noteLending(config: Config, logger: Pick<Logger, 'warn'>): Promise<void> {
  const { lendCredentials } = config.registry
  if (lendCredentials === 'none' || !(await hasCredentials(config))) return
  const who = lendCredentials === 'all' ? 'everybody who reaches registry.listen' : 'every program on this machine'
  logger.warn(
    { lendCredentials },
    `${who} can pull the private images that the credentials of this node open; registry.lendCredentials changes that`,
  )
}

async function hasCredentials({ registries, upstream }: Config): Promise<boolean> {
  const isAny = Object.values(registries).some(({ username, cert }) => username !== undefined || cert !== undefined)
  if (isAny) return true
  try {
    const { auths, credHelpers, credsStore } = parseDockerConfig(await readFile(upstream.dockerConfig, 'utf8'))
    return auths.size > 0 || credHelpers.size > 0 || credsStore !== undefined
  } catch {
    // Whoever uses the file says what is wrong with it.
    return false
  }
}
