import { destination, type Logger, pino, stdTimeFunctions } from 'pino'
import type { Config } from '../../config/schema.ts'

/** Where log lines go: a stream such as process.stdout. */
export interface LogOutput {
  readonly isTTY?: boolean | undefined
  write(line: string): unknown
}

const secretHeaders = ['authorization', 'Authorization', 'proxy-authorization', 'cookie', 'set-cookie']

/** Headers that must not reach a log, wherever in a line an object with headers stands. */
const redactedPaths = secretHeaders.flatMap((name) => [
  `["${name}"]`,
  `*["${name}"]`,
  `*.headers["${name}"]`,
  `*.*.headers["${name}"]`,
])

/** A line of JSON as one that a person reads: time, level, message, the rest as name=value. */
function readableLine(json: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(json) as Record<string, unknown>
  const clock = String(time).slice(11, 23)
  const details = Object.entries(rest).map(([name, value]) => `${name}=${readable(value)}`)
  const { message, stack } = (err ?? {}) as { message?: string; stack?: string }
  const failure = err === undefined ? [] : [`err=${readable(message)}`]
  const trace = level === 'error' || level === 'fatal' ? (stack?.replace(/^.*?\n/, '\n') ?? '') : ''
  const words = [
    clock,
    String(level).toUpperCase().padEnd(5),
    ...(msg === undefined ? [] : [msg]),
    ...details,
    ...failure,
  ]
  return `${words.join(' ')}${trace}\n`
}

function readable(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"=]+$/.test(value)) return value
  return JSON.stringify(value) ?? 'undefined'
}

function standardOutput(): LogOutput {
  const stream = destination({ dest: 1, sync: true })
  // A log that can't be written, on a full disk, must not end the node.
  stream.on('error', () => {})
  return stream
}

/**
 * Logs as one line of JSON each, or as readable lines where a person looks on.
 * @param output for tests; standard output by default
 */
export function createLogger({ level }: Config['log'], output?: LogOutput): Logger {
  const stream = output ?? (process.stdout.isTTY ? process.stdout : standardOutput())
  const isTerminal = 'isTTY' in stream && stream.isTTY === true
  return pino(
    {
      level,
      // The host's name and the process id are what the log collector adds.
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: redactedPaths, censor: '***' },
    },
    isTerminal ? { write: (line: string) => stream.write(readableLine(line)) } : stream,
  )
}
