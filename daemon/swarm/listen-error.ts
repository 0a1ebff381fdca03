import { once } from 'node:events'
import { createServer } from 'node:net'
import type { ListenAddress } from '../../config/schema.ts'

/**
 * Why an address can't be listened on, and what to do, by trying it: libp2p's error is a list of its own settings and a stack.
 * @param flag the option of the command line that sets it
 * @returns undefined where the address can be had now
 */
export async function listenProblem(address: ListenAddress, flag: string): Promise<Error | undefined> {
  const { host, port } = address
  const server = createServer()
  try {
    server.listen({ host, port, exclusive: true })
    await once(server, 'listening')
    return undefined
  } catch (error) {
    return new Error(explain(error as NodeJS.ErrnoException, address, flag))
  } finally {
    server.close()
  }
}

function explain({ code, message }: NodeJS.ErrnoException, { host, port }: ListenAddress, flag: string): string {
  if (code === 'EADDRINUSE')
    return `another program listens on port ${port}, perhaps another layerd ("ss -ltnp" shows which one): stop it, or choose another port with ${flag}`
  if (code === 'EACCES') return `this user may not listen on port ${port}: choose one above 1023 with ${flag}`
  if (code === 'EADDRNOTAVAIL')
    return `this machine has no address ${host}: choose one that it has with ${flag}, or 0.0.0.0`
  return message
}
