import { join } from 'node:path'
import type { Config } from '../../config/schema.ts'

/** Bytes of a path at which a unix socket can be: `sun_path` of Linux (108, with a zero at its end); macOS has 104. */
const maxPathBytes = process.platform === 'darwin' ? 103 : 107

/** Where the control socket of a node is. */
export function controlPath({ dataDir, control }: Pick<Config, 'dataDir' | 'control'>): string {
  return control.socket ?? join(dataDir, 'control.sock')
}

/** What is wrong with a path for a socket, and what to do about it; undefined where it is short enough. */
export function tooLongPath(path: string): string | undefined {
  const bytes = Buffer.byteLength(path)
  if (bytes <= maxPathBytes) return undefined
  return `the path of the control socket has ${bytes} bytes, and ${maxPathBytes} are possible: set control.socket to a shorter one (${path})`
}
