import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Logger } from 'pino'
import type { ListenAddress } from '../../config/schema.ts'
import { formatAddress } from '../../config/units.ts'

const ALL_IPV4 = '0.0.0.0'
const ALL_IPV6 = '::'

/** A machine without IPv6 answers with one of those. */
const NO_FAMILY = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT'])

/** Options of the command line, by those of the configuration file that they set. */
const FLAGS = { 'swarm.listen': '--p2p-listen', 'swarm.transferListen': '--transfer-listen' } as const

export type ListenOption = keyof typeof FLAGS

/** What to listen at, one socket each: an IPv6 address takes IPv6 only. `[::]` stands for all addresses of both families. */
export function bindings(addresses: readonly ListenAddress[]): readonly ListenAddress[] {
  const all = addresses.flatMap(({ host, port }) => {
    if (host === ALL_IPV6) return [ALL_IPV4, ALL_IPV6].map((both) => ({ host: both, port }))
    return [{ host: host === 'localhost' ? '127.0.0.1' : host, port }]
  })
  const isFirst = ({ host, port }: ListenAddress, index: number) =>
    all.findIndex((other) => other.host === host && other.port === port) === index
  return all.filter(isFirst)
}

/**
 * Leaves out all of IPv6 on a machine that has none, and takes the others for a moment: libp2p is content with IPv4 alone, whatever
 * the reason.
 * @param option that says so, for errors
 * @throws {Error} that names the option, where an address can't be used
 */
export async function usableBindings(
  addresses: readonly ListenAddress[],
  option: ListenOption,
  log: Logger,
): Promise<readonly ListenAddress[]> {
  const usable: ListenAddress[] = []
  for (const address of bindings(addresses)) {
    const error = await tryOut(address)
    if (error === undefined) usable.push(address)
    else if (isWithoutFamily(address, error)) log.info({ option }, 'this machine has no IPv6: IPv4 is used alone')
    else throw cannotListen(option, address, error)
  }
  return usable
}

/** Whether an address can't be used because the machine has no IPv6, although it stands for both families. */
export function isWithoutFamily({ host }: ListenAddress, error: NodeJS.ErrnoException): boolean {
  return host === ALL_IPV6 && NO_FAMILY.has(error.code ?? '')
}

/** An error for a person. @param option in the configuration file */
export function cannotListen(option: ListenOption, address: ListenAddress, cause: NodeJS.ErrnoException): Error {
  return new Error(`${option}: can't listen on ${formatAddress(address)}: ${explain(cause, address, FLAGS[option])}`, {
    cause,
  })
}

function explain({ code, message }: NodeJS.ErrnoException, { host, port }: ListenAddress, flag: string): string {
  if (code === 'EADDRINUSE')
    return `another program listens on port ${port}, perhaps another layerd ("ss -ltnp" shows which one): stop it, or choose another port with ${flag}`
  if (code === 'EACCES') return `this user may not listen on port ${port}: choose one above 1023 with ${flag}`
  if (code === 'EADDRNOTAVAIL')
    return `this machine has no address ${host}: choose one that it has with ${flag}, or [::] for all`
  return message
}

async function tryOut({ host, port }: ListenAddress): Promise<NodeJS.ErrnoException | undefined> {
  const server = createServer()
  try {
    server.listen({ host, port, exclusive: true, ipv6Only: true })
    await once(server, 'listening')
  } catch (error) {
    return error as NodeJS.ErrnoException
  }
  const closed = once(server, 'close')
  server.close()
  await closed
  return undefined
}
