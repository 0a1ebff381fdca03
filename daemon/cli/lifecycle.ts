import type { Logger } from 'pino'
import { Failure, reasonText } from './failure.ts'

/** What a command needs of a node: to stop it. */
export interface Stoppable {
  stop(): Promise<void>
}

/** What of `process` the lifecycle uses. */
export interface HostProcess {
  on(event: string, listener: (cause: unknown) => void): unknown
  off(event: string, listener: (cause: unknown) => void): unknown
  exit(code: number): void
}

const signals = ['SIGTERM', 'SIGINT'] as const

/**
 * Runs a node until SIGTERM or SIGINT, then stops it. A second signal ends the process at once. What nobody caught is
 * logged and ends the process with 1: the state of the node is not known any more.
 * @throws {Failure} if the node can't start or stop
 */
export async function runUntilSignal<Node extends Stoppable>(
  start: () => Promise<Node>,
  onReady: (node: Node) => void,
  logger: Logger,
  host: HostProcess,
): Promise<void> {
  const { promise: asked, resolve: ask } = Promise.withResolvers<unknown>()
  let isAsked = false
  const onSignal = (signal: unknown) => {
    if (isAsked) {
      logger.warn({ signal }, 'stopped at once')
      host.exit(1)
      return
    }
    isAsked = true
    logger.info({ signal }, 'stopping; a second signal stops at once')
    ask(signal)
  }
  const onUncaught = (error: unknown) => {
    logger.fatal({ err: error }, 'unexpected failure')
    host.exit(1)
  }
  for (const signal of signals) host.on(signal, onSignal)
  host.on('uncaughtException', onUncaught)
  host.on('unhandledRejection', onUncaught)
  try {
    const node = await start().catch((error: unknown) => {
      logger.debug({ err: error }, 'start failed')
      throw new Failure(`cannot start: ${reasonText(error)}`, { cause: error })
    })
    if (!isAsked) onReady(node)
    await asked
    await node.stop().catch((error: unknown) => {
      throw new Failure(`did not stop cleanly: ${reasonText(error)}`, { cause: error })
    })
    logger.info('stopped')
  } finally {
    for (const signal of signals) host.off(signal, onSignal)
    host.off('uncaughtException', onUncaught)
    host.off('unhandledRejection', onUncaught)
  }
}
