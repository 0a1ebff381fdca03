import { ip, makeNamespace } from './shell.ts'

/** Namespace of the switch. */
const SWITCH = 'switch'
/** Namespace of the registry, which is also the way out of the nodes' network. */
export const UPSTREAM_HOST = 'upstream'
const GATEWAY = '10.77.0.254'
/** The registry is behind the gateway, so that a node without a route to it still has its peers. */
export const REGISTRY_ADDRESS = '10.78.0.1'
/** Addresses that nodes get later: each one is new, as a DHCP server may give it. */
const FIRST_LEASE = 20
const LAST_LEASE = 250

/** A switch, its hosts and the way to the registry. All of it ends with the jail that it is made in. */
export class Lan {
  readonly #addresses = new Map<string, string>()
  #nextLease = FIRST_LEASE

  static async build(nodes: readonly string[]): Promise<Lan> {
    const lan = new Lan()
    for (const name of [SWITCH, UPSTREAM_HOST, ...nodes]) await makeNamespace(name)
    const bridges = ['together', 'apart'].flatMap((bridge) => [
      `link add ${bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `link set ${bridge} up`,
    ])
    await ip(SWITCH, 'link set lo up', ...bridges)
    for (const [index, name] of [UPSTREAM_HOST, ...nodes].entries()) {
      await ip(SWITCH, `link add ${name} type veth peer name eth0 netns ${name}`, `link set ${name} master together up`)
      await ip(name, 'link set lo up', 'link set eth0 up')
      if (name === UPSTREAM_HOST) {
        await ip(name, `addr add ${GATEWAY}/24 dev eth0`, `addr add ${REGISTRY_ADDRESS}/32 dev lo`)
        continue
      }
      lan.#addresses.set(name, `10.77.0.${index}`)
      await ip(name, `addr add 10.77.0.${index}/24 brd + dev eth0`, `route add default via ${GATEWAY}`)
    }
    return lan
  }

  /** Present address of a node. */
  address(node: string): string {
    return this.#addresses.get(node) ?? ''
  }

  /** Its own interface, as an administrator or a driver switches it off. Routes by a gateway go with it. */
  async setLink(node: string, isUp: boolean): Promise<void> {
    if (isUp) await ip(node, 'link set eth0 up', `route replace default via ${GATEWAY}`)
    else await ip(node, 'link set eth0 down')
  }

  /** The cable: the host sees that its carrier is gone. */
  async setCable(host: string, isIn: boolean): Promise<void> {
    await ip(SWITCH, `link set ${host} ${isIn ? 'up' : 'down'}`)
  }

  /** The switch passes on nothing from and to a host, which does not notice. */
  async setPort(host: string, isOpen: boolean): Promise<void> {
    await ip(SWITCH, isOpen ? `link set ${host} master together` : `link set ${host} nomaster`)
  }

  /** Hosts on a switch of their own: they see each other, and nobody else. */
  async setApart(hosts: readonly string[], isApart: boolean): Promise<void> {
    await ip(SWITCH, ...hosts.map((host) => `link set ${host} master ${isApart ? 'apart' : 'together'}`))
  }

  async setDefaultRoute(node: string, isThere: boolean): Promise<void> {
    await ip(node, isThere ? `route replace default via ${GATEWAY}` : 'route del default')
  }

  /** All routes of a host; its address stays. */
  async setRoutes(node: string, isThere: boolean): Promise<void> {
    if (!isThere) {
      await ip(node, 'route flush dev eth0')
      return
    }
    const own = this.address(node)
    await ip(node, `route replace 10.77.0.0/24 dev eth0 src ${own}`, `route replace default via ${GATEWAY}`)
  }

  /** A new address in place of the present one. Routes go with the old one. */
  async changeAddress(node: string): Promise<string> {
    const taken = new Set(this.#addresses.values())
    let next: string
    do {
      next = `10.77.0.${this.#nextLease}`
      this.#nextLease = this.#nextLease === LAST_LEASE ? FIRST_LEASE : this.#nextLease + 1
    } while (taken.has(next))
    const before = this.address(node)
    this.#addresses.set(node, next)
    await ip(
      node,
      `addr del ${before}/24 dev eth0`,
      `addr add ${next}/24 brd + dev eth0`,
      `route replace default via ${GATEWAY}`,
    )
    return next
  }
}
