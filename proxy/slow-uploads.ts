import type { IncomingMessage } from 'node:http'
import { Pace } from './pace.ts'

/** How often it is looked at what has come, in ms. */
const checkInterval = 5_000

/** Cuts the connection of a request whose body comes too slowly. A server that is slow to read itself waits for nobody. */
export function watchUpload(request: IncomingMessage): void {
  const { headers, socket } = request
  if (headers['transfer-encoding'] === undefined && (headers['content-length'] ?? '0') === '0') return
  const pace = new Pace(checkInterval)
  let before = socket.bytesRead
  const check = (): void => {
    const { bytesRead } = socket
    // What has come and was not taken is not the client's delay.
    const isWaiting = request.readableLength === 0
    const isSlow = isWaiting && pace.isTooSlow(bytesRead - before, checkInterval)
    before = bytesRead
    if (isSlow) socket.destroy()
  }
  const timer = setInterval(check, checkInterval)
  timer.unref()
  // Both: a body that nobody reads ends with its connection.
  for (const event of ['end', 'close'] as const) request.once(event, () => clearInterval(timer))
}
