import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'

/** A configured seed: an address to dial as it is, or a name that is resolved anew each time. */
export type Seed =
  | { readonly text: string; readonly kind: 'address'; readonly address: Multiaddr }
  | {
      readonly text: string
      readonly kind: 'name'
      readonly host: string
      /** 4 or 6 where the multiaddr says so, else 0. */
      readonly family: 0 | 4 | 6
      readonly port: number
      /** `/p2p/<PeerId>` or nothing. */
      readonly suffix: string
    }

const familyOfProtocol: Readonly<Record<string, 0 | 4 | 6>> = { dns: 0, dns4: 4, dns6: 6 }

const hostPortPattern = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9A-Za-z._-]+)):(\d{1,5})$/

/**
 * Reads an entry of `swarm.seeds`: a multiaddr with or without a PeerId, or `host:port`.
 * @throws {Error} that names the entry
 */
export function parseSeed(text: string): Seed {
  const [, bracketed, name, portText] = hostPortPattern.exec(text) ?? []
  const host = bracketed ?? name
  const port = Number(portText)
  if (host !== undefined && port > 0 && port <= 65535) {
    if (isIP(host) === 0) return { text, kind: 'name', host, family: 0, port, suffix: '' }
    return { text, kind: 'address', address: tcpAddress(host, port) }
  }
  try {
    return parseMultiaddr(text, multiaddr(text))
  } catch (cause) {
    throw new Error(
      `swarm.seeds: "${text}" is neither host:port nor a multiaddr such as /dns4/layerd.example/tcp/4050`,
      { cause },
    )
  }
}

function parseMultiaddr(text: string, address: Multiaddr): Seed {
  const [first, second, third] = address.getComponents()
  if (second?.name !== 'tcp') throw new Error('only TCP is spoken')
  const family = familyOfProtocol[first?.name ?? '']
  if (family === undefined || first?.value === undefined) return { text, kind: 'address', address }
  const suffix = third?.name === 'p2p' ? `/p2p/${third.value}` : ''
  return { text, kind: 'name', host: first.value, family, port: Number(second.value), suffix }
}

/** All addresses of a seed now: a Kubernetes headless service has one for each pod. Rejects where the name is unknown. */
export async function resolveSeed(seed: Seed): Promise<readonly Multiaddr[]> {
  if (seed.kind === 'address') return [seed.address]
  const found = await lookup(seed.host, { all: true, family: seed.family })
  return found.map(({ address }) => tcpAddress(address, seed.port, seed.suffix))
}

function tcpAddress(host: string, port: number, suffix = ''): Multiaddr {
  return multiaddr(`/${isIP(host) === 6 ? 'ip6' : 'ip4'}/${host}/tcp/${port}${suffix}`)
}

/** The part of a multiaddr that says where to dial, without the PeerId: what addresses are compared by. */
export function placeOf(address: Multiaddr): string {
  return address.toString().replace(/\/p2p\/[^/]+$/, '')
}
