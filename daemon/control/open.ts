import type { Logger } from 'pino'
import type { Config } from '../../config/schema.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { createControlApp } from './app.ts'
import type { Operations } from './operation.ts'
import { controlPath, tooLongPath } from './path.ts'
import { listenAtSocket } from './socket.ts'

/** How long requests may take to end when the node stops, in ms. They have been told to. */
const shutdownTimeout = 1_000

interface ControlOptions {
  readonly config: Pick<Config, 'dataDir' | 'control'>
  readonly operations: Operations
  readonly version: string
  readonly lifecycle: Lifecycle
  readonly logger: Logger
}

/**
 * Opens the control socket, until the node stops. Where nobody has chosen its path and that of the data folder is too long, the node
 * goes on without.
 * @throws Error that says what to do, where a socket can't be had
 */
export async function openControl({ config, lifecycle, logger, ...options }: ControlOptions): Promise<void> {
  const path = controlPath(config)
  const problem = tooLongPath(path)
  if (problem !== undefined && config.control.socket !== undefined) throw new Error(problem)
  if (problem !== undefined) return logger.warn(`commands such as "layerd images" can't reach this node: ${problem}`)
  const stopping = new AbortController()
  const app = createControlApp({ ...options, logger, stopping: stopping.signal })
  const server = await listenAtSocket(path, app.callback())
  lifecycle.onStop(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    stopping.abort()
    server.closeIdleConnections()
    const cut = setTimeout(() => server.closeAllConnections(), shutdownTimeout)
    await closed
    clearTimeout(cut)
  })
}
