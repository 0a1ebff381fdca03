import { isAbsolute } from 'node:path'
import { type Finding, found } from './problems.ts'
import { isPattern } from './scalars.ts'
import type { Config, ListenAddress } from './schema.ts'
import { swarmKeyPattern } from './swarm-key.ts'
import { checkFile, checkTls } from './tls-checks.ts'
import { formatSize } from './units.ts'

/** What no single value shows to be wrong: options that do not fit each other, and files that are not there. */
export function checkConfig(config: Config): Finding[] {
  return [
    ...checkPaths(config),
    ...checkStore(config),
    ...checkAddresses(config),
    ...checkRegistries(config),
    ...checkSwarmKey(config),
  ]
}

/** Below this even small images do not fit; a quota like that is a unit left out. */
const smallestStore = 16 * 2 ** 20

function checkStore({ store }: Config): Finding[] {
  if (store.maxSize >= smallestStore) return []
  const message = `expected at least ${formatSize(smallestStore)}, got ${formatSize(store.maxSize)}`
  return [{ path: ['store', 'maxSize'], message }]
}

function checkPaths(config: Config): Finding[] {
  const paths: [path: string[], value: string | undefined][] = [
    [['dataDir'], config.dataDir],
    [['swarm', 'swarmKey'], config.swarm.swarmKey],
    [['upstream', 'dockerConfig'], config.upstream.dockerConfig],
    [['upstream', 'dockerCerts'], config.upstream.dockerCerts],
    [['upstream', 'containerdHosts'], config.upstream.containerdHosts],
    ...Object.entries(config.registries).flatMap(([name, { ca = [], cert, key }]): [string[], string | undefined][] => [
      ...ca.map((file): [string[], string] => [['registries', name, 'ca'], file]),
      [['registries', name, 'cert'], cert],
      [['registries', name, 'key'], key],
    ]),
  ]
  return paths
    .filter(([, value]) => value !== undefined && !isAbsolute(value))
    .map(([path, value]) => ({
      path,
      message: `expected an absolute path (the home directory that "~" stands for is not known), got ${found(value)}`,
    }))
}

const everywhere = ['0.0.0.0', '::']

function collide(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port === 0 || a.port !== b.port) return false
  return a.host === b.host || everywhere.includes(a.host) || everywhere.includes(b.host)
}

/** Where the mirror listens, with the options that say so. */
function mirrorAddresses({ listen, loginListen }: Config['registry']): [path: string[], address: ListenAddress][] {
  const login: [string[], ListenAddress][] =
    loginListen === undefined ? [] : [[['registry', 'loginListen'], loginListen]]
  return [[['registry', 'listen'], listen], ...login]
}

function checkAddresses({ registry, admin, swarm }: Config): Finding[] {
  const taken: [path: string[], address: ListenAddress][] = [
    ...mirrorAddresses(registry),
    [['admin', 'listen'], admin.listen],
    ...swarm.listen.map((address): [string[], ListenAddress] => [['swarm', 'listen'], address]),
    ...swarm.transferListen.map((address): [string[], ListenAddress] => [['swarm', 'transferListen'], address]),
  ]
  const collisions = taken.flatMap(([path, address], index): [name: string, Finding][] => {
    const name = path.join('.')
    // The addresses of one list may lie within each other.
    const other = taken.slice(0, index).find(([earlier, one]) => earlier.join('.') !== name && collide(one, address))
    if (other === undefined) return []
    const message = `expected an address of its own, got port ${address.port}, which ${other[0].join('.')} has`
    return [[name, { path, beside: other[0], message }]]
  })
  return [...new Map(collisions).values(), ...checkTransferPorts(swarm.transferListen)]
}

/** A peer is told one port. */
function checkTransferPorts(addresses: Config['swarm']['transferListen']): Finding[] {
  const ports = [...new Set(addresses.map(({ port }) => port))]
  if (ports.length === 1) return []
  return [
    { path: ['swarm', 'transferListen'], message: `expected one port for all addresses, got ${ports.join(' and ')}` },
  ]
}

const loopback = /^(?:localhost|127\.[\d.]+|\[::1\])$/

/** Whether an endpoint is the mirror itself, which would then ask itself without end. */
export function isOwnMirror(endpoint: string, { host, port }: ListenAddress): boolean {
  const url = new URL(endpoint)
  const endpointPort = Number(url.port) || (url.protocol === 'https:' ? 443 : 80)
  if (port === 0 || endpointPort !== port) return false
  const own = host.includes(':') ? `[${host}]` : host
  return url.hostname === own || (loopback.test(url.hostname) && (everywhere.includes(host) || loopback.test(own)))
}

function checkRegistries({ registries, registry }: Config): Finding[] {
  return Object.entries(registries).flatMap(([name, entry]) => {
    const list: Finding[] = []
    const path = (field: string) => ['registries', name, field]
    if (entry.username !== undefined && entry.password === undefined) {
      list.push({
        path: path('username'),
        beside: path('password'),
        message: 'expected a password beside it, got none',
      })
    }
    if (entry.password !== undefined && entry.username === undefined) {
      list.push({
        path: path('password'),
        beside: path('username'),
        message: 'expected a username beside it, got none',
      })
    }
    if (name === registry.localName) {
      const message = `expected another name than ${found(name)}, which registry.localName gives to this node itself`
      list.push({ path: ['registries', name], beside: ['registry', 'localName'], message })
    }
    const own = mirrorAddresses(registry).find(([, address]) => isOwnMirror(entry.endpoint, address))
    if (own !== undefined) {
      const message = `expected the registry's own address, got ${found(entry.endpoint)}, where this node listens itself`
      list.push({ path: path('endpoint'), beside: own[0], message })
    }
    if (isPattern(name) && entry.endpoint !== `https://${name}`) {
      const message = `expected no endpoint beside a pattern: it is https:// and the name, got ${found(entry.endpoint)}`
      list.push({ path: path('endpoint'), message })
    }
    if (isPattern(name) && entry.overridePath) {
      list.push({
        path: path('overridePath'),
        message: 'expected false for a pattern, which has no endpoint of its own',
      })
    }
    const plain = name.replace(/:443$/, '')
    if (plain !== name && Object.hasOwn(registries, plain)) {
      const message = `expected one entry for a registry, got ${found(plain)}, too; port 443 goes without saying`
      list.push({ path: ['registries', name], beside: ['registries', plain], message })
    }
    list.push(...checkTls(name, entry))
    return list
  })
}

function checkSwarmKey({ swarm }: Config): Finding[] {
  if (swarm.swarmKey === undefined) return []
  return checkFile(['swarm', 'swarmKey'], swarm.swarmKey, (text) => {
    if (swarmKeyPattern.test(text)) return undefined
    return 'expected a file with the lines "/key/swarm/psk/1.0.0/", "/base16/" and 64 hexadecimal digits'
  })
}
