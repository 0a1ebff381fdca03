import { readFile } from 'node:fs/promises'
import type { Logger } from 'pino'
import type { Config } from '../config/schema.ts'
import { parseDockerConfig } from '../proxy/upstream/docker-config.ts'
import type { Rules } from './rules.ts'

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

/** Says once at start of which registries an open swarm gets nothing. */
export function noteUnshared(config: Config, rules: Pick<Rules, 'toStrangers'>, logger: Pick<Logger, 'info'>): void {
  const registries = Object.keys(config.registries).filter((name) => rules.toStrangers(`${name}/any`) === 'nothing')
  if (registries.length === 0) return
  const text = 'nothing of these registries goes to peers of an open swarm, but for what repositories.public names'
  logger.info({ registries }, `${text}; in a closed one (swarm.swarmKey) it does`)
}
