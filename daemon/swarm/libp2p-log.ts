import type { ComponentLogger, Logger as Libp2pLogger } from '@libp2p/interface'
import type { Logger } from 'pino'

const placeholder = /%[a-zA-Z]/g

/** libp2p's own placeholders (%p PeerId, %a multiaddr, %c CID, %e error…) all have a text form that says enough. */
function format(message: unknown, args: unknown[]): string {
  let next = 0
  const text = String(message).replace(placeholder, (match) => (next < args.length ? describe(args[next++]) : match))
  return [text, ...args.slice(next).map(describe)].join(' ')
}

function describe(value: unknown): string {
  if (value instanceof Error) return value.message
  if (value instanceof Uint8Array) return `${value.byteLength} bytes`
  return String(value)
}

/**
 * Pipes libp2p's log into ours: its errors are mostly about single streams of single peers, so they are `debug` here, and
 * everything else is `trace`.
 */
export function libp2pLogger(log: Logger): ComponentLogger {
  const forComponent = (component: string): Libp2pLogger => {
    const write = (message: unknown, ...args: unknown[]) => {
      if (log.isLevelEnabled('trace')) log.trace({ component }, format(message, args))
    }
    const error = (message: unknown, ...args: unknown[]) => {
      if (log.isLevelEnabled('debug')) log.debug({ component }, format(message, args))
    }
    return Object.assign(write, {
      enabled: log.isLevelEnabled('trace'),
      trace: write,
      error,
      newScope: (scope: string) => forComponent(`${component}:${scope}`),
    })
  }
  return { forComponent }
}
