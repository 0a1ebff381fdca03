import { BlockList } from 'node:net'
import { networkInterfaces } from 'node:os'

/** An address of an interface that is up. */
export interface InterfaceAddress {
  /** Name of the interface, such as `eth0`. */
  readonly name: string
  readonly address: string
  /** The address with the length of its network's prefix. */
  readonly cidr: string | null
  readonly family: 4 | 6
  /** Its interface is loopback. */
  readonly internal: boolean
}

/** Until a change is seen; Node is not told of changes. A look takes about 0.1 ms. */
const LOOK_INTERVAL_MS = 1000

/** All addresses of the interfaces that are up; none where this process may not ask for them. */
export function interfaceAddresses(): InterfaceAddress[] {
  return Object.entries(all()).flatMap(([name, addresses = []]) =>
    addresses.map(({ family, address, cidr, internal }) => {
      return { name, address, cidr, family: family === 'IPv6' ? 6 : 4, internal }
    }),
  )
}

function all(): ReturnType<typeof networkInterfaces> {
  try {
    return networkInterfaces()
  } catch {
    return {}
  }
}

/** The networks that addresses are part of. */
export function networksOf(interfaces: readonly InterfaceAddress[]): BlockList {
  const networks = new BlockList()
  for (const { cidr, family } of interfaces) {
    const [network, bits] = cidr?.split('/') ?? []
    if (network === undefined || bits === undefined) continue
    networks.addSubnet(network, Number(bits), family === 6 ? 'ipv6' : 'ipv4')
  }
  return networks
}

/** Whether peers may be reached by an address. Link-local ones come with each container that starts, and none is reached by them. */
export function reachesPeers({ address, internal }: InterfaceAddress): boolean {
  return !internal && !/^fe[89ab]/i.test(address)
}

/**
 * Calls `onChange` whenever interfaces or their addresses have come or gone, until the function that it gives is called.
 * @param matters of which addresses it is to be told; of all where it is left out
 */
export function watchInterfaces(onChange: () => void, matters = (_: InterfaceAddress) => true): () => void {
  const look = () => JSON.stringify(interfaceAddresses().filter(matters))
  let before = look()
  const timer = setInterval(() => {
    const now = look()
    if (now === before) return
    before = now
    onChange()
  }, LOOK_INTERVAL_MS)
  return () => clearInterval(timer)
}
