import { BlockList, isIP } from 'node:net'

/** A host that is asked: a name in lower case or an address without brackets, and the port. */
interface Target {
  readonly host: string
  readonly port: string
}

type Matcher = (target: Target) => boolean

/**
 * Which hosts are asked without a proxy, as `NO_PROXY` says it (golang.org/x/net/http/httpproxy): `example.com` is that
 * host and all below it, `.example.com` and `*.example.com` only what is below it; addresses and CIDR blocks are compared
 * with hosts that are addresses; `*` is all. Names and addresses may have a port. Loopback is never asked by a proxy.
 */
export class NoProxy {
  readonly #matchers: readonly Matcher[]

  constructor(entries: readonly string[]) {
    this.#matchers = entries.map((entry) => matcherOf(entry.trim().toLowerCase())).filter((one) => one !== undefined)
  }

  has(url: URL): boolean {
    const target = targetOf(url)
    return isLoopback(target.host) || this.#matchers.some((matches) => matches(target))
  }
}

function targetOf({ hostname, port, protocol }: URL): Target {
  const host = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '')
  return { host, port: port || (protocol === 'https:' ? '443' : '80') }
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

const isLoopback = (host: string) => host === 'localhost' || isIn(loopback, host)

/** IPv4 within IPv6 counts as the IPv4 that it is. */
function isIn(list: BlockList, host: string): boolean {
  const version = isIP(host)
  return version !== 0 && list.check(host, version === 6 ? 'ipv6' : 'ipv4')
}

/** @returns undefined for what is no entry, which is left out as in Go */
function matcherOf(entry: string): Matcher | undefined {
  if (entry === '*') return () => true
  const [, network = '', prefix = ''] = /^([0-9a-f.:]+)\/(\d{1,3})$/.exec(entry) ?? []
  const version = isIP(network)
  if (version !== 0 && Number(prefix) <= (version === 6 ? 128 : 32)) {
    const list = new BlockList()
    list.addSubnet(network, Number(prefix), version === 6 ? 'ipv6' : 'ipv4')
    return ({ host }) => isIn(list, host)
  }
  const { host, port } = hostAndPort(entry)
  if (host === '' || host === '.') return undefined
  const isPort = (target: Target) => port === '' || port === target.port
  if (isIP(host) !== 0) {
    const list = new BlockList()
    list.addAddress(host, isIP(host) === 6 ? 'ipv6' : 'ipv4')
    return (target) => isIn(list, target.host) && isPort(target)
  }
  const name = host.replace(/^\*(?=\.)/, '')
  const suffix = name.startsWith('.') ? name : `.${name}`
  return (target) => (target.host.endsWith(suffix) || target.host === name) && isPort(target)
}

function hostAndPort(entry: string): Target {
  if (isIP(entry) !== 0) return { host: entry, port: '' }
  const [, host = entry, port = ''] = /^(.*):(\d*)$/.exec(entry) ?? []
  return { host: host.replace(/^\[|\]$/g, ''), port }
}
