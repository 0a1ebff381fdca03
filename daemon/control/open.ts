import type { Logger } from 'pino'
import type { Config } from '../../config/schema.ts'
import type { Lifecycle } from '../lifecycle.ts'
import { createControlApp } from './app.ts'
import type { Operations } from './operation.ts'
import { controlPath, tooLongPath } from './path.ts'
import { listenAtSocket, NoSockets } from './socket.ts'

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
 * Opens the control socket, until the node stops. Where nobody has chosen its path and there can't be one in the data folder, as its
 * path is too long or its file system has no sockets, the node goes on without.
 * @throws Error that says what to do, where a socket can't be had
 */
export async function openControl({ config, lifecycle, logger, ...options }: ControlOptions): Promise<void> {
  const path = controlPath(config)
  const problem = tooLongPath(path)
  const isChosen = config.control.socket !== undefined
  const goOn = (reason: string) => logger.warn(`commands such as "layerd images" can't reach this node: ${reason}`)
  if (problem !== undefined && isChosen) throw new Error(problem)
  if (problem !== undefined) return goOn(problem)
  const stopping = new AbortController()
  const app = createControlApp({ ...options, logger, stopping: stopping.signal })
  const server = await listenAtSocket(path, app.callback()).catch((error: unknown) => {
    if (isChosen || !(error instanceof NoSockets)) throw error
    goOn(error.message)
  })
  if (server === undefined) return
  lifecycle.onStop(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    stopping.abort()
    server.closeIdleConnections()
    const cut = setTimeout(() => server.closeAllConnections(), shutdownTimeout)
    await closed
    clearTimeout(cut)
  })
}
