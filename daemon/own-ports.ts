/** The ports of addresses as `host:port`, and of multiaddrs. */
export function portsOf(addresses: readonly (string | undefined)[], multiaddrs: readonly string[]): number[] {
  const found = [...addresses, ...multiaddrs].map((text) => /(?::|\/tcp\/)(\d+)(?:$|\/p2p\/)/.exec(text ?? '')?.[1])
  return found.filter((port) => port !== undefined).map(Number)
}
