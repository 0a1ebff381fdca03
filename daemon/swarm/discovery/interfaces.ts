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

/** Calls `onChange` whenever interfaces or their addresses have come or gone, until the function that it gives is called. */
export function watchInterfaces(onChange: () => void): () => void {
  let before = JSON.stringify(interfaceAddresses())
  const timer = setInterval(() => {
    const now = JSON.stringify(interfaceAddresses())
    if (now === before) return
    before = now
    onChange()
  }, LOOK_INTERVAL_MS)
  return () => clearInterval(timer)
}
