import type { Connection } from '@libp2p/interface'

/** The shortest round trip of connections in ms; undefined where none was measured yet. */
export function shortestRtt(connections: readonly Pick<Connection, 'rtt'>[]): number | undefined {
  const measured = connections.map(({ rtt }) => rtt).filter((rtt) => rtt !== undefined)
  return measured.length === 0 ? undefined : Math.min(...measured)
}
